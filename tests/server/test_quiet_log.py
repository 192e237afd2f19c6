"""Logs tell what broke and where, and nothing of whom it broke for."""

import asyncio
import json
import re
import smtplib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from pydantic import BaseModel, ValidationError

from server.embedded import attach_engines
from server.quiet_log import describe
from server.settings import SANDBOX_SECRET_KEY
from stream_events.errors import Problem
from tests.browser.deployment import Deployment, Night, deployed, open_night

NAME, ADDRESS, EMAIL = "Wang Xiaofang", "712 Peanut Blossom Road", "xiaofang@example.org"
MESSAGE, REASON = "Kick the ball high", "The sack arrived torn open"


class Form(BaseModel):
    age: int


def caught(error: BaseException) -> str:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as raised:
        fail()
    return describe(raised.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(NAME),
        KeyError(NAME),
        asyncpg.CheckViolationError(f"Failing row contains ({NAME})"),
        smtplib.SMTPRecipientsRefused({NAME: (550, b"no")}),
        ExceptionGroup(NAME, [ValueError(NAME), ExceptionGroup(NAME, [KeyError(NAME)])]),
    ],
)
def test_an_exception_is_named_and_not_quoted(error: Exception) -> None:
    said = caught(error)
    assert type(error).__qualname__ in said
    assert f"{__file__}:" in said
    assert NAME not in said


def test_causes_are_told_without_what_they_quote() -> None:
    def fail() -> None:
        try:
            Form.model_validate({"age": NAME})
        except ValidationError as error:
            raise LookupError(NAME) from error

    with pytest.raises(LookupError) as raised:
        fail()
    said = describe(raised.value)
    first, second = said.split("which led to")
    assert "ValidationError" in first
    assert "LookupError" in second
    assert NAME not in said


def test_our_own_words_and_the_systems_are_kept() -> None:
    assert "This order is paid." in caught(Problem(409, "paid", "This order is paid."))
    assert "Connection refused" in caught(ConnectionRefusedError(111, "Connection refused"))
    broken = asyncpg.CheckViolationError("Failing row")
    broken.sqlstate = "23514"
    assert "[SQLSTATE 23514]" in caught(broken)


def test_libraries_and_last_words_are_quiet_json_too(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import asyncio, logging, warnings\n"
        "from server.quiet_log import configure\n"
        "configure('info')\n"
        "logging.getLogger('uvicorn.error').error('Exception in %s', 'app', exc_info=ValueError('hunter2'))\n"
        "logging.getLogger('uvicorn.access').info('GET /?token=hunter2')\n"
        "async def main():\n"
        "    async def fails(): raise ValueError('hunter2')\n"
        "    task = asyncio.create_task(fails())\n"
        "    await asyncio.sleep(0)\n"
        "    del task\n"
        "    await asyncio.sleep(0)\n"
        "asyncio.run(main())\n"
        "raise KeyError('hunter2')\n",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=Path(__file__).parents[2],
        env={"PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert [line["event"] for line in lines] == [
        "Exception in app",
        "Task exception was never retrieved",
        "ended_by_error",
    ]
    assert all("Error" in line["exception"] for line in lines)
    assert done.returncode == 1
    assert "hunter2" not in done.stderr + done.stdout


# --- the whole product ------------------------------------------------------------------------------------------


async def live_through_an_order(deployment: Deployment, night: Night, data: Path) -> set[str]:
    """Order, pay and ask back as a shopper with a name, and return every secret that went over the wire."""
    secrets = {NAME, ADDRESS, EMAIL, MESSAGE, REASON, deployment.operator_key, night.host_key}
    async with httpx.AsyncClient(base_url=f"{deployment.url}/v1") as api:
        token = (await api.post("/shoppers")).json()["token"]
        mine = {"authorization": f"Bearer {token}"}
        basket = {"lines": [{"sku": night.sku, "quantity": 1}]}
        key = {"idempotency-key": "a-key-of-my-own"}
        path = f"/streams/{night.stream_id}/orders"
        placed = await api.post(path, json=basket, headers=mine | key)
        for _ in range(100):
            if placed.status_code != 503:
                break
            await asyncio.sleep(0.2)  # The gate is being put up.
            placed = await api.post(path, json=basket, headers=mine | key)
        assert placed.status_code == 201, placed.text
        url = f"/orders/{placed.json()['id']}"
        contact = {"name": NAME, "contact": EMAIL, "address": ADDRESS}
        assert (await api.put(f"{url}/contact", json=contact, headers=mine)).status_code == 204
        said = {"name": NAME[:8], "message": MESSAGE, "show": True}
        assert (await api.put(f"{url}/message", json=said, headers=mine)).status_code < 300
        order_token = (await api.get(f"{url}/link", headers=mine)).json()["url"].partition("#")[2]
        holder = {"authorization": f"Bearer {order_token}"}
        await until(api, url, holder, lambda order: order["state"] == "AWAITING_PAYMENT")
        confirmation = await confirmation_token(deployment, url)
        paid = await api.post(f"{url}/pay", json={"confirmation_token": confirmation}, headers=mine)
        assert paid.status_code == 200, paid.text
        await until(api, url, holder, lambda order: order["state"] == "PAID")
        asked = await api.post(f"{url}/refund-requests", json={"reason": REASON}, headers=holder)
        assert asked.status_code == 201, asked.text
        await spoil(data)
        # What is refused, what breaks, and what should never have been in an address.
        last = {"connection": "close"}  # The server hangs up on whom it failed.
        broken = await api.put(f"{url}/contact", json=contact, headers=mine | last)
        assert broken.status_code == 500, broken.text
        assert (await api.put(f"{url}/contact", json=contact | {"x": NAME}, headers=mine)).is_error
        assert (await api.get(f"/orders/{NAME}?token={token}", headers=holder)).is_error
        assert (await api.post(f"/webhooks/stripe?email={EMAIL}", content=NAME)).is_error
        assert (await api.get(f"{url}/data", headers=holder)).status_code == 200
        operator = {"authorization": f"Bearer {deployment.operator_key}"}
        await until(api, "/mailbox", operator, lambda page: bool(page["items"]))
    return secrets | {token, order_token, confirmation}


async def until(
    api: httpx.AsyncClient,
    url: str,
    headers: dict[str, str],
    is_so: Callable[[dict[str, Any]], bool],
) -> None:
    """Ask until the answer is so."""
    for _ in range(300):
        if is_so((await api.get(url, headers=headers)).json()):
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"{url} never came to be so")


async def confirmation_token(deployment: Deployment, order_url: str) -> str:
    """Return the token that the payment page makes of a card."""
    async with httpx.AsyncClient() as client:
        page = await client.get(f"{deployment.url}/pay/{order_url.rpartition('/')[2]}")
        found = re.search(r"http://127\.0\.0\.1:\d+(?=/sandbox/stripe\.js)", page.text)
        assert found, page.text
        answer = await client.post(
            f"{found[0]}/v1/test_helpers/confirmation_tokens",
            data={"payment_method": "pm_card_visa"},
            headers={"authorization": f"Bearer {SANDBOX_SECRET_KEY}"},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


async def spoil(data: Path) -> None:
    """Let the database refuse this very name, so that a row with it is what an error is about."""
    engines = attach_engines(data)
    assert engines is not None
    sql = await asyncpg.connect(engines.database_url)
    await sql.execute(
        f"ALTER TABLE order_contacts ADD CONSTRAINT spoilt CHECK (name <> '{NAME}') NOT VALID"
    )
    await sql.close()


async def test_no_log_of_a_whole_deployment_names_anybody(tmp_path: Path) -> None:
    async with deployed(tmp_path) as deployment:
        night = await open_night(deployment, title="Quiet night", total=5, names="")
        secrets = await live_through_an_order(deployment, night, tmp_path / "data")
    logs = [path for path in tmp_path.rglob("*.log*") if path.is_file()]
    assert {path.name for path in logs} >= {"serve.log", "postgresql.log"}
    served = (tmp_path / "serve.log").read_text("utf-8")
    # It did break, and both say so.
    assert "CheckViolationError" in served
    assert "spoilt" in (tmp_path / "data" / "postgresql.log").read_text("utf-8")
    for path in logs:
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            for secret in secrets:
                assert secret not in line, (path.name, number)
