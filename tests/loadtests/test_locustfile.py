"""The Locust file, in processes of its own because Locust patches sockets: it starts, and it refuses real money."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from loadtests.safety import RealMoney, refuse_live_keys, refuse_live_server

ROOT = Path(__file__).resolve().parents[2]
SANDBOX = {"mode": "sandbox", "stripe_publishable_key": "pk_test_sandbox"}


@contextmanager
def shop(meta: dict[str, str]) -> Iterator[tuple[str, list[str]]]:
    """Serve ``/v1/meta`` and nothing else; list what was asked for."""
    asked: list[str] = []

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            body = json.dumps(meta).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(201)
            body = b'{"token":"t","shopper_id":"shp_1","id":"ord_1"}'
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def locust(host: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        **os.environ,
        "STREAM": "str_1",
        "SKU": "X",
        "CROWD": "2",
        "RUSH_SECONDS": "2",
        **more,
    }
    command = ["-m", "locust", "-f", "loadtests/locustfile.py", "--headless", "--host", host]
    return subprocess.run(
        [sys.executable, *command, "--exit-code-on-error", "0"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_it_visits_a_shop_of_play_money() -> None:
    with shop(SANDBOX) as (host, asked):
        done = locust(host)
    assert done.returncode == 0, done.stderr
    assert "refused" not in done.stdout
    assert "/v1/shoppers" in asked


def test_it_refuses_real_money_before_anybody_goes_in() -> None:
    with shop({**SANDBOX, "mode": "live"}) as (host, asked):
        done = locust(host)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "mode is not sandbox" in done.stdout
    assert set(asked) <= {"/v1/meta"}


# Starting Locust costs seconds of a processor, so one process is told of all that must be refused, one after another.
LISTENING = """
import json, os, sys
from types import SimpleNamespace
from loadtests.locustfile import look_first
for host, more in json.load(sys.stdin):
    os.environ.update(more)
    quits = []
    runner = SimpleNamespace(quit=lambda: quits.append(True))
    environment = SimpleNamespace(host=host, runner=runner, process_exit_code=None)
    look_first(environment)
    print("#", environment.process_exit_code, len(quits))
    for name in more:
        os.environ[name] = "X"
"""


def test_whatever_is_not_play_money_is_refused() -> None:
    with (
        shop(SANDBOX) as (good, asked),
        shop({**SANDBOX, "mode": "live"}) as (live, _),
        shop({**SANDBOX, "stripe_publishable_key": "pk_live_1"}) as (live_key, _),
    ):
        told: list[tuple[str, dict[str, str], str]] = [
            (live, {}, "mode is not sandbox"),
            (live_key, {}, "no test key"),
            (good, {"STRIPE_SECRET_KEY": "sk_" + "live_1"}, "holds a live Stripe key"),
            (good, {"SKU": ""}, "say where and what"),
            ("", {}, "say where and what"),
            (good, {}, ""),
        ]
        done = subprocess.run(
            [sys.executable, "-c", LISTENING],
            cwd=ROOT,
            env={**os.environ, "STREAM": "str_1", "SKU": "X"},
            input=json.dumps([(host, more) for host, more, _ in told]),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    said = done.stdout.split("#")
    assert [rest.split("\n")[0] for rest in said[1:]] == [" 2 1"] * 5 + [" None 0"]
    for (_, _, why), text in zip(told, said[:-1], strict=True):
        assert why in text
        assert ("refused: " in text) is bool(why)
    # Only the last of the three that name the good shop came so far as to ask it anything.
    assert asked == ["/v1/meta"]


def test_keys_and_servers_are_told_apart() -> None:
    refuse_live_keys({"STRIPE_SECRET_KEY": "sk_test_1"})
    refuse_live_server(SANDBOX)
    for name, key in (("A", "rk_live_1"), ("B", "x sk_live_1"), ("C", "pk_live_1")):
        with pytest.raises(RealMoney, match=f"^{name} holds"):
            refuse_live_keys({name: key})
    for meta in ({}, {"mode": "sandbox"}, {**SANDBOX, "mode": "LIVE"}):
        with pytest.raises(RealMoney):
            refuse_live_server(meta)
