"""The sale and its viewers as a Locust test that ops may run against any server of theirs that plays with test money.

It looks before it leaps: with a live Stripe key anywhere near, or a server in live mode, it ends at once.
"""

import json
import os
import urllib.request
from typing import Any

from locust import events

from loadtests.safety import RealMoney, refuse_live_keys, refuse_live_server
from loadtests.shapes import Rush
from loadtests.shopper import Shopper
from loadtests.viewer import Viewer

__all__ = ["Rush", "Shopper", "Viewer"]


def look(host: str | None) -> None:
    """Raise if a crowd must not go to ``host``, or does not know what to do there."""
    refuse_live_keys()
    missing = [name for name in ("STREAM", "SKU") if not os.environ.get(name)]
    if missing or not host:
        raise ValueError(f"say where and what: --host, and in the environment {missing}")
    with urllib.request.urlopen(f"{host}/v1/meta", timeout=10) as answer:  # noqa: S310 - it is --host
        refuse_live_server(json.load(answer))


@events.test_start.add_listener
def look_first(environment: Any, **_: Any) -> None:
    """Ask the server what it is; end the test, with an exit code, when a crowd must not go there."""
    try:
        look(environment.host)
    except (RealMoney, OSError, ValueError) as error:
        print(f"refused: {error}", flush=True)
        environment.process_exit_code = 2
        environment.runner.quit()
