"""The whole product as its users meet it: the server's own command on an empty folder, and a sale set up over HTTP."""

import asyncio
import contextlib
import os
import secrets
import signal
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx

from server.processes import free_port

REPOSITORY = Path(__file__).parents[2]
READY_S = 60.0
STOP_S = 30.0


@dataclass(frozen=True, slots=True)
class Deployment:
    """A running server: where it is, and the key of its first operator."""

    url: str
    hosts: frozenset[str]
    operator_key: str


@dataclass(frozen=True, slots=True)
class Night:
    """A sale on a deployment, live, with the keys of those who take part."""

    campaign_id: str
    stream_id: str
    host_id: str
    cause_id: str
    sku: str
    host_key: str
    farmer_key: str
    overlay_key: str


def _environment() -> dict[str, str]:
    """Return an environment in which no setting of this machine's reaches the server."""
    foreign = ("STREAM_EVENTS_", "DATABASE_URL", "REDIS_URL", "STRIPE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


async def _operator_key(folder: Path) -> str:
    command = ("-m", "server.cli", "keys", "operator", "Test", "--data", str(folder))
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, cwd=REPOSITORY, env=_environment(), stdout=PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return out.decode().split()[-1]


async def _until_ready(url: str, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(READY_S), httpx.AsyncClient() as client:
        while True:
            assert process.returncode is None, "the server ended while it was starting"
            with contextlib.suppress(httpx.TransportError):
                if (await client.get(f"{url}/readyz")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def deployed(folder: Path) -> AsyncIterator[Deployment]:
    """Run ``stream-events serve`` on an empty folder until the block ends; its log lies in ``serve.log`` there."""
    ports = [free_port() for _ in range(3)]
    names = ("--port", "--gateway-port", "--sandbox-port")
    options = [part for name, port in zip(names, ports, strict=True) for part in (name, str(port))]
    with (folder / "serve.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server.cli", "serve", "--data", str(folder / "data"), *options),
            cwd=REPOSITORY,
            env=_environment() | {"STREAM_EVENTS_PAY_RATE_PER_S": "5"},
            stdout=output,
            stderr=STDOUT,
        )
        url = f"http://127.0.0.1:{ports[0]}"
        try:
            try:
                await _until_ready(url, process)
            except (AssertionError, TimeoutError) as error:
                said = (folder / "serve.log").read_text("utf-8", "replace")[-3000:]
                raise AssertionError(
                    f"the server did not become ready; it said:\n{said}"
                ) from error
            hosts = frozenset(f"127.0.0.1:{port}" for port in ports)
            yield Deployment(url, hosts, await _operator_key(folder / "data"))
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            async with asyncio.timeout(STOP_S):
                await process.wait()


def _operating(deployment: Deployment) -> httpx.AsyncClient:
    headers = {"authorization": f"Bearer {deployment.operator_key}"}
    return httpx.AsyncClient(base_url=f"{deployment.url}/v1", headers=headers)


async def _post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.is_success, answer.text
    return dict(answer.json())


async def _go_live(
    client: httpx.AsyncClient, stream: dict[str, Any], sku: str, cause_id: str, total: int
) -> str:
    """Make a stream, put a product on its stall, and open it."""
    stream_id = str((await _post(client, "/streams", **stream))["id"])
    terms = {
        "price_minor": 2990,
        "per_shopper_max": 5,
        "beneficiary_id": cause_id,
        "total": total,
    }
    shares = {"farmer_bp": 8000, "beneficiary_bp": 1500, "fees_bp": 500}
    offer = await client.put(f"/streams/{stream_id}/offers/{sku}", json=terms | shares)
    assert offer.is_success, offer.text
    for state in ("scheduled", "live"):
        await _post(client, f"/streams/{stream_id}/state", state=state)
    return stream_id


async def _key(client: httpx.AsyncClient, role: str, **belonging: str) -> str:
    return str((await _post(client, "/principals", name=role, role=role, **belonging))["key"])


async def open_night(deployment: Deployment, *, title: str, total: int, names: str) -> Night:
    """Set up a sale of one product and open it. ``names`` is put into every name that reaches a screen."""
    async with _operating(deployment) as client:
        campaign = await _post(
            client, "/campaigns", name="Philanthropy Week", currency="CNY", goal_minor=10**7
        )
        host = await _post(client, "/hosts", name=f"Lin Xiao {names}")
        farmer = await _post(client, "/farmers", name=f"Zhengyang {names}", place="Henan")
        cause = await _post(client, "/beneficiaries", name=f"Basketball gear {names}")
        sku = f"PEANUT-{secrets.token_hex(3).upper()}"
        product = {"name": f"Red-skin peanuts {names}", "name_zh": "红皮花生", "unit": "bag"}
        await _post(client, "/products", farmer_id=farmer["id"], sku=sku, **product)
        stream = {"campaign_id": campaign["id"], "host_id": host["id"], "title": title}
        stream_id = await _go_live(client, stream | {"goal_minor": 20_000}, sku, cause["id"], total)
        return Night(
            campaign["id"],
            stream_id,
            host["id"],
            cause["id"],
            sku,
            await _key(client, "host", host_id=host["id"]),
            await _key(client, "farmer", farmer_id=farmer["id"]),
            await _key(client, "overlay", stream_id=stream_id),
        )


async def open_next(deployment: Deployment, night: Night, *, title: str) -> Night:
    """Open another sale of the same host and campaign, with the same product on it and an overlay of its own."""
    async with _operating(deployment) as client:
        stream = {"campaign_id": night.campaign_id, "host_id": night.host_id, "title": title}
        stream_id = await _go_live(
            client, stream | {"goal_minor": 20_000}, night.sku, night.cause_id, 5
        )
        overlay_key = await _key(client, "overlay", stream_id=stream_id)
    return replace(night, stream_id=stream_id, overlay_key=overlay_key)


async def take_gifts(deployment: Deployment, night: Night, *, words: str) -> None:
    """Let a night take gifts for two causes, have a sponsor double them, ask for shipping, and say who sells."""
    campaign = f"/campaigns/{night.campaign_id}"
    async with _operating(deployment) as client:

        async def send(method: str, path: str, body: Any, **extra: str) -> dict[str, Any]:
            answer = await client.request(method, path, json=body, headers=extra)
            assert answer.is_success, answer.text
            return dict(answer.json())

        other = await send("POST", "/beneficiaries", {"name": f"College places {words}"})
        await send("PUT", f"{campaign}/causes", [night.cause_id, other["id"]])
        said = {"seller": f"Growers' Co-operative {words}", "refund_terms": f"7 days. {words}"}
        bounds = {"gift_min_minor": 100, "payment_methods": ["card", "alipay"]}
        await send("PATCH", campaign, said | bounds)
        flat = {"type": "flat", "amount_minor": 1000, "free_from_minor": 9900}
        await send("PUT", f"/streams/{night.stream_id}/shipping", flat)
        match = {"sponsor": f"Golden Mill {words}", "ratio_bp": 10_000, "pot_minor": 100_000}
        key = {"idempotency-key": secrets.token_hex(8)}
        await send("POST", f"{campaign}/matches", match, **key)
