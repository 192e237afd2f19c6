"""The rush: a crowd that buys one offer out, pays for it, watches the total, and checks what it was told.

A black box outside the server: it knows its addresses and what a shopper sees. A line of JSON a second on standard
output tells a progress bar how far it is; ``{"phase": "rush"}`` is printed as the rush starts. Exit code 0: every
unit is paid and the server kept its word; 1: it did not; 2: there was nothing to buy or nobody
who could; 3: the time was over before the last unit was paid.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import uvloop

from loadtests.audience import Audience
from loadtests.crowd import Crowd, Placed
from loadtests.http import Address, Connection, Lost, encode_request
from loadtests.journal import Journal
from loadtests.oracle import Oracle, Verdict
from loadtests.payers import Mix, Payers, Till

GATHER_S_MAX: Final = 90.0
PAY_AFTER_S: Final = 8.0
QUIET_S: Final = 1.5
QUIET_S_MAX: Final = 10.0
SHOP_S: Final = 2.0


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.rush", description=__doc__)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--stream", required=True)
    parser.add_argument("--sku", required=True)
    parser.add_argument("--units-total", type=int, required=True)
    parser.add_argument("--attempts-min", type=int, default=30_000)
    parser.add_argument("--shoppers", type=int, help="default: two for three units on sale")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--pay-connections", type=int, default=32)
    parser.add_argument("--viewers", type=int, default=200)
    parser.add_argument("--abandon-percent", type=float, default=2)
    parser.add_argument("--decline-percent", type=float, default=5)
    parser.add_argument("--action-percent", type=float, default=1)
    parser.add_argument("--seconds-max", type=float, default=300)
    parser.add_argument("--journal", type=Path, required=True)
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args(arguments)


class Rush:
    """One rush, from the first token to the verdict."""

    def __init__(self, asked: argparse.Namespace, till: Till, journal: Journal) -> None:
        self._asked = asked
        self._address = Address.of(asked.base_url)
        self._journal = journal
        self._loop = asyncio.get_running_loop()
        self._rushed, self._stop = asyncio.Event(), asyncio.Event()
        self._storefront: dict[str, Any] = {}
        self.phase = "gathering"
        mix = Mix(asked.abandon_percent, asked.decline_percent, asked.action_percent)
        self.payers = Payers(self._address, till, mix)
        self.audience = Audience(self._address, asked.stream, asked.viewers)
        self.crowd = Crowd(
            self._address,
            asked.stream,
            asked.sku,
            units_total=asked.units_total,
            journal=journal,
            on_placed=self._on_placed,
        )
        self.crowd.free_units = lambda: self.stock().get("left")

    def _on_placed(self, placed: Placed) -> None:
        self.payers.join(placed)

    def stock(self) -> dict[str, Any]:
        """Return what the newest stock frame, or else the shop's page, says of the offer."""
        items = self.audience.witness.state(self.audience.topics[1]).get("items", ())
        for item in items or self._storefront.get("offers", ()):
            if item["sku"] == self._asked.sku:
                return dict(item)
        return {}

    @property
    def sold_units(self) -> int:
        """How many units are paid for, as shown to everybody."""
        return int(self.stock().get("sold", 0))

    async def run(self) -> tuple[bool, Verdict]:
        """Gather, rush, pay, watch it end; return whether every unit was paid in time, and the verdict."""
        telling = asyncio.create_task(self._tell())
        shoppers = self._asked.shoppers or max(200, self._asked.units_total * 2 // 3)
        await asyncio.gather(
            self.crowd.gather(shoppers, GATHER_S_MAX), self.audience.enter(GATHER_S_MAX)
        )
        gc.collect()
        gc.freeze()
        until_s = self._loop.time() + self._asked.seconds_max
        background = [asyncio.create_task(self._watch_shop()), asyncio.create_task(self._pay())]
        self.phase = "rush"
        print(json.dumps({"phase": "rush"}), flush=True)
        await self.crowd.rush(self._asked.connections, self._asked.attempts_min, until_s)
        self._rushed.set()
        self.phase = "paying"
        background.append(asyncio.create_task(self.crowd.come_back(4, self._stop)))
        sold = await self._until_sold(until_s, background)
        self._stop.set()
        await asyncio.gather(*background)
        await self._until_quiet()
        verdict = await Oracle(self._address, self.crowd).examine(
            self._journal.acks,
            self._journal.refusals if sold else (),
            self.payers.read,
            self.audience.witness.breaches,
        )
        self.phase = "done"
        telling.cancel()
        self.say()
        await self.audience.leave()
        return sold, verdict

    async def _pay(self) -> None:
        """Start paying when the stock is gone, or a little later than a shopper would type an address."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._rushed.wait(), PAY_AFTER_S)
        await self.payers.pay(self._asked.pay_connections, self._stop)

    async def _until_sold(self, until_s: float, background: list[asyncio.Task[None]]) -> bool:
        while self._loop.time() < until_s:
            for task in background:
                if task.done():
                    task.result()  # raises what ended it: a crowd without payers never ends
            if self.sold_units >= self._asked.units_total:
                return True
            await asyncio.sleep(0.1)
        return False

    async def _until_quiet(self) -> None:
        """Wait until the total has stopped moving and all viewers agree on it."""
        until = time.monotonic() + QUIET_S_MAX
        witness = self.audience.witness
        while time.monotonic() < until:
            agreed = self.audience.agreed == len(self.audience.viewers)
            if time.monotonic() - witness.changed_at > QUIET_S and agreed:
                return
            await asyncio.sleep(0.1)

    async def _watch_shop(self) -> None:
        """Look at the shop's page now and then, in case no viewer watches."""
        page = encode_request("GET", f"/v1/streams/{self._asked.stream}/storefront")
        connection = Connection(self._address)
        while not self._stop.is_set():
            try:
                answer = await connection.request(page)
            except Lost as lost:
                self.payers.outcomes[f"storefront: {lost}"[:40]] += 1
            else:
                if answer.status == 200:
                    self._storefront = msgspec.json.decode(answer.body)
            await asyncio.sleep(SHOP_S)
        connection.close()

    async def _tell(self) -> None:
        while True:
            self.say()
            await asyncio.sleep(1)

    def say(self) -> None:
        """Print one line for a progress bar."""
        figures, tally = self.crowd.figures, self.audience.witness.state(self.audience.topics[0])
        line = {
            "phase": self.phase,
            "shoppers": len(self.crowd.shoppers),
            "viewers": self.audience.watching,
            "attempts": figures.attempts,
            "placed_units": figures.placed_units,
            "placed_orders": figures.acknowledged,
            "paid_orders": self.payers.paid,
            "sold_units": self.sold_units,
            "units_total": self._asked.units_total,
            "raised_minor": tally.get("raised_minor", 0),
            "seconds_to_sell_out": figures.seconds_to_sell_out,
        }
        print(json.dumps(line), flush=True)

    def report(self, verdict: Verdict, *, sold: bool) -> dict[str, Any]:
        """Return everything that was counted, timed and found."""
        witness, used = self.audience.witness, resource.getrusage(resource.RUSAGE_SELF)
        tally = witness.state(self.audience.topics[0])
        return {
            "units_total": self._asked.units_total,
            "units_sold": self.sold_units,
            "all_sold": sold,
            **self.crowd.figures.as_json(),
            **verdict.as_json(),
            "paid": self.payers.paid,
            "abandoned": self.payers.abandoned,
            "payment_outcomes": dict(self.payers.outcomes),
            "order_looks": self.payers.looks,
            "viewers": len(self.audience.viewers),
            "viewers_agree": self.audience.agreed,
            "frames": witness.frames,
            "socket_closes": dict(witness.closes),
            "overlay_last_minor": tally.get("raised_minor"),
            "overlay_last_seq": tally.get("seq"),
            "overlay_delay_ms_p50": witness.delay.percentile(50),
            "overlay_delay_ms_p99": witness.delay.percentile(99),
            "screens": witness.screens.as_json(),
            "client_cpu_s": round(used.ru_utime + used.ru_stime, 2),
        }


async def read_meta(address: Address) -> dict[str, str]:
    """Ask the server what it is; raises ``Lost`` when it does not answer."""
    connection = Connection(address)
    answer = await connection.request(encode_request("GET", "/v1/meta"))
    connection.close()
    if answer.status != 200:
        raise Lost(f"GET /v1/meta answers {answer.status}")
    return dict(msgspec.json.decode(answer.body))


async def run(asked: argparse.Namespace) -> int:
    """Run the rush and write its figures; return the exit code."""
    try:
        till = Till.of_meta(await read_meta(Address.of(asked.base_url)))
    except (Lost, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    with Journal(asked.journal) as journal:
        rush = Rush(asked, till, journal)
        try:
            sold, verdict = await rush.run()
        except RuntimeError as error:
            print(error, file=sys.stderr)
            return 2
    report = rush.report(verdict, sold=sold)
    await asyncio.to_thread(asked.json.write_text, json.dumps(report, indent=2) + "\n", "utf-8")
    if not verdict.good:
        return 1
    return 0 if sold else 3


def main() -> int:
    """Run from the command line."""
    return uvloop.run(run(parse()))


if __name__ == "__main__":
    sys.exit(main())
