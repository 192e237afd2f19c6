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
        "RUSH_SECONDS": "4",
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


@pytest.mark.parametrize(
    ("meta", "more", "why"),
    [
        ({**SANDBOX, "mode": "live"}, {}, "mode is not sandbox"),
        ({**SANDBOX, "stripe_publishable_key": "pk_live_1"}, {}, "no test key"),
        (SANDBOX, {"STRIPE_SECRET_KEY": "sk_" + "live_1"}, "holds a live Stripe key"),
        (SANDBOX, {"SKU": ""}, "say where and what"),
    ],
)
def test_it_refuses_real_money_before_anybody_goes_in(
    meta: dict[str, str], more: dict[str, str], why: str
) -> None:
    with shop(meta) as (host, asked):
        done = locust(host, **more)
    assert done.returncode == 2, done.stdout + done.stderr
    assert why in done.stdout
    assert set(asked) <= {"/v1/meta"}


def test_keys_and_servers_are_told_apart() -> None:
    refuse_live_keys({"STRIPE_SECRET_KEY": "sk_test_1"})
    refuse_live_server(SANDBOX)
    for name, key in (("A", "rk_live_1"), ("B", "x sk_live_1"), ("C", "pk_live_1")):
        with pytest.raises(RealMoney, match=f"^{name} holds"):
            refuse_live_keys({name: key})
    for meta in ({}, {"mode": "sandbox"}, {**SANDBOX, "mode": "LIVE"}):
        with pytest.raises(RealMoney):
            refuse_live_server(meta)
