"""A Locust viewer on a real websocket: how stale what it is shown is, and whether a version ever goes back."""

import json
import os
import random
import time
import urllib.request
from typing import Any

from locust import User, constant, task
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.typing import Subprotocol

SUBPROTOCOL = Subprotocol("stream-events.v1")
SILENCE_S_MAX = 20


class Viewer(User):
    """Somebody who watches a stream. Each live frame is a "FRAME" of so many ms: from when it was made to here.

    The clocks of both machines must agree for that; on one machine they do.
    """

    wait_time = constant(1)
    weight = 1

    @task
    def watch(self) -> None:
        """Watch until the connection ends, then come again."""
        started = time.perf_counter()
        try:
            url, ticket = self._ticket()
            with connect(url, subprotocols=[SUBPROTOCOL], compression=None) as socket:
                socket.send(json.dumps({"ticket": ticket}))
                self._fire("connect", (time.perf_counter() - started) * 1000, 0)
                self._follow(socket)
        except (OSError, TimeoutError, WebSocketException) as error:
            self._fire("connection", (time.perf_counter() - started) * 1000, 0, error)
            time.sleep(random.uniform(0.2, 1.5))

    def _ticket(self) -> tuple[str, str]:
        stream = os.environ["STREAM"]
        topics = [f"stream/{stream}/{what}" for what in ("tally", "stock", "status")]
        request = urllib.request.Request(  # noqa: S310 - Locust's own --host, which the operator gave
            f"{self.host}/v1/socket-tickets",
            json.dumps({"topics": topics}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            got = json.load(answer)
        return got["gateway_url"], got["ticket"]

    def _follow(self, socket: Any) -> None:
        shown: dict[str, tuple[int, int]] = {}
        while True:
            text = socket.recv(timeout=SILENCE_S_MAX)
            frame = json.loads(text)
            if frame["t"] != "state":
                continue
            topic, age = frame["topic"], (frame["epoch"], frame["version"])
            before = shown.get(topic)
            shown[topic] = age
            if before is None:
                continue  # the snapshot of a connection may be old by right
            back = ValueError(f"{topic} went from {before} to {age}") if age <= before else None
            stale_ms = max(0.0, time.time() * 1000 - frame["at"])
            self._fire(topic.rpartition("/")[2], stale_ms, len(text), back)

    def _fire(self, name: str, ms: float, size: int, error: Exception | None = None) -> None:
        self.environment.events.request.fire(
            request_type="FRAME",
            name=name,
            response_time=ms,
            response_length=size,
            exception=error,
            context={},
        )
