"""The sandbox with one way more: ``POST /anew`` leaves an empty account, so that no test reads what others did.

One process then serves hundreds of tests, each of which lists its own payments and not thousands of theirs.
"""

from typing import Any

from orders.payments.sandbox.__main__ import serve
from orders.payments.sandbox.app import SandboxApp
from orders.payments.sandbox.config import SandboxConfig


class Forgetful:
    """The ASGI callable; whatever is asked before ``POST /anew`` was answered is none of the next test's."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._app = SandboxApp(config)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            self._app.account.start()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await self._app.account.stop()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http" and scope["path"] == "/anew":
            before, self._app = self._app, SandboxApp(self._config)
            self._app.account.start()
            await before.account.stop()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"{}"})
        else:
            await self._app(scope, receive, send)


if __name__ == "__main__":
    serve(Forgetful)
