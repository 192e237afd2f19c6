"""``stream-events demo``: sell a county's peanuts out to a simulated crowd, then prove that every number is right.

The crowd is a process of its own that knows nothing but the HTTP and websocket addresses. What it saw, what the
books say and what the invariants find decide the exit code.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from redis.asyncio import Redis
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import text

from server.checking import Report, check_deployment, print_report
from server.embedded import start_engines
from server.keys import create_operator
from server.migrate import upgrade
from server.processes import Supervisor, free_port, stop_on_signals
from server.screen_delay import GOAL_MS, screen_delay
from server.settings import Settings
from server.story import Story, tell
from stream_events.database import Database

Fault = Literal["kill9", "flushall"]

FAST_RATE_PER_S = 400
PAY_WINDOW_S = 120
READY_S_MAX = 30
RUSH_S_MAX = 420
REST_S_MAX = 60
FAULT_AFTER = 0.3

_UNITS = text("SELECT total, reserved, sold FROM stock WHERE stream_id = :stream_id")
_DURABLE = text("SELECT count(*) FROM order_keys WHERE outcome = 'PLACED'")
_PAID = text("SELECT count(*) FROM orders WHERE stream_id = :stream_id AND state = 'PAID'")
_OPEN = text("""
    SELECT (SELECT count(*) FROM orders
            WHERE state IN ('RESERVED', 'AWAITING_PAYMENT', 'PROCESSING', 'EXPIRING', 'CANCELLING', 'LATE_PAID',
                            'REFUND_PENDING'))
         + (SELECT count(*) FROM stripe_events WHERE state = 'NEW')
         + (SELECT count(*) FROM ledger_unsealed)
""")
_TALLY = text("SELECT raised_minor FROM tallies WHERE scope_id = :stream_id")
_LEDGER = text("""
    SELECT coalesce(-sum(e.amount_minor), 0) FROM ledger_entries e
    JOIN ledger_transactions t ON t.id = e.transaction_id
    WHERE t.stream_id = :stream_id AND e.account LIKE 'beneficiary/%'
""")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the caller of the demo asked for."""

    headless: bool
    json_path: Path | None
    fault: Fault | None
    stripe_pace: bool
    attempts_min: int
    viewers: int


def make_folder() -> Path:
    """Make a folder for one demo; the engines may be another user's, who must be able to pass through."""
    folder = Path(tempfile.mkdtemp(prefix="stream-events-demo-"))
    folder.chmod(0o711)
    return folder


async def run_demo(wishes: Wishes, folder: Path) -> int:
    """Play the demo in ``folder``, which is removed after; return the exit code that is the verdict."""
    console = Console(stderr=wishes.headless)
    stop = stop_on_signals()
    settings = _settings(wishes, folder)
    try:
        with start_engines(settings.data_dir) as engines:
            settings = settings.model_copy(
                update={"database_url": engines.database_url, "redis_url": engines.redis_url}
            )
            await asyncio.to_thread(upgrade, engines.database_url)
            settings.signing_secret()
            supervisor = Supervisor(settings)
            serving = asyncio.create_task(supervisor.run(stop))
            try:
                return await _play(console, wishes, settings, supervisor, stop)
            finally:
                stop.set()
                await serving
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _settings(wishes: Wishes, folder: Path) -> Settings:
    """Play money at a pace that fits an audience, unless Stripe's own pace was asked for."""
    ports = (free_port(), free_port(), free_port()) if wishes.headless else (8000, 8001, 8002)
    fast = (
        {}
        if wishes.stripe_pace
        else {
            "pay_rate_per_s": FAST_RATE_PER_S,
            "sandbox_rate_per_s": FAST_RATE_PER_S,
            "pay_window_s": PAY_WINDOW_S,
            "reconcile_s": 15,
        }
    )
    given: dict[str, Any] = {
        "data_dir": folder / "data",
        "database_url": None,
        "redis_url": None,
        "stripe_secret_key": None,
        "stripe_publishable_key": None,
        "stripe_webhook_secrets": "",
        "host": "127.0.0.1",
        "port": ports[0],
        "gateway_port": ports[1],
        "sandbox_port": ports[2],
        "shoppers_per_minute": 0,  # the whole crowd comes from one address
        "log_level": "error" if not wishes.headless else "warning",
        **fast,
    }
    return Settings.model_construct(**{**Settings().model_dump(), **given})


async def _play(
    console: Console,
    wishes: Wishes,
    settings: Settings,
    supervisor: Supervisor,
    stop: asyncio.Event,
) -> int:
    await _until_ready(settings)
    story = await tell(settings.own_url, await create_operator(settings, "Demo operator"))
    _print_places(console, settings, story)
    if not wishes.headless:
        console.print("\nThe rush starts in 8 seconds: open the overlay now.")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(8):
                await stop.wait()
    if stop.is_set():
        return 130
    seen = await _rush(console, wishes, settings, supervisor, story, stop)
    if stop.is_set():
        return 130
    if seen is None:
        console.print("[red]The crowd gave up; see above.[/red]")
        return 1
    await _until_rest(settings)
    report = await check_deployment(settings, at_rest=True)
    figures = await _figures(settings, story, seen, report)
    faults = _faults(figures)
    if wishes.json_path is not None:
        wishes.json_path.write_text(json.dumps({**figures, "faults": faults}, indent=2) + "\n")
    _print_figures(console, figures, faults, report)
    if not wishes.headless:
        console.print("\nThe server stays up for you to play with. Ctrl-C stops it.")
        _print_places(console, settings, story)
        await stop.wait()
    return 1 if faults else 0


async def _until_ready(settings: Settings) -> None:
    async with httpx.AsyncClient(base_url=settings.own_url, timeout=2) as api:
        for _ in range(READY_S_MAX * 10):
            with contextlib.suppress(httpx.HTTPError):
                if (await api.get("/readyz")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.1)
    raise RuntimeError(f"the server was not ready within {READY_S_MAX} s")


def _print_places(console: Console, settings: Settings, story: Story) -> None:
    base = settings.own_url
    console.print("\n[bold]stream-events demo[/bold] — TEST MONEY, nothing here is real")
    console.print(f"  overlay  {base}/overlay/all#{story.overlay_key}", soft_wrap=True)
    console.print(f"  shop     {base}/shop/{story.stream_id}", soft_wrap=True)
    console.print(f"  farmer   {base}/farmer#{story.farmer_key}", soft_wrap=True)
    console.print(f"  console  {base}/console#{story.host_key}", soft_wrap=True)
    for title, stream_id in story.other_streams:
        console.print(f"  also     {base}/shop/{stream_id}  {title}", soft_wrap=True)
    pace = settings.pay_rate_per_s
    stripe_pace = (
        "Stripe's own"
        if pace == Settings.model_fields["pay_rate_per_s"].default
        else ("faster than Stripe allows; --stripe-pace restores Stripe's")
    )
    console.print(f"  payments at {pace} a second ({stripe_pace})")


async def _rush(
    console: Console,
    wishes: Wishes,
    settings: Settings,
    supervisor: Supervisor,
    story: Story,
    stop: asyncio.Event,
) -> dict[str, Any] | None:
    """Let the crowd in, show how it goes, break something in the middle if asked; return what it saw."""
    result = settings.data_dir / "crowd.json"
    seconds_max = RUSH_S_MAX if not wishes.stripe_pace else 3600
    crowd = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "loadtests.rush"),
        *("--base-url", settings.own_url, "--stream", story.stream_id, "--sku", story.sku),
        *("--units-total", str(story.units_total), "--attempts-min", str(wishes.attempts_min)),
        *("--viewers", str(wishes.viewers), "--seconds-max", str(seconds_max)),
        *("--journal", str(settings.data_dir / "crowd.jsonl"), "--json", str(result)),
        cwd=Path(__file__).parent.parent,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C reaches only us; we send the crowd home
    )
    assert crowd.stdout is not None
    leaving = asyncio.create_task(_send_home(crowd, stop))
    breaking: asyncio.Task[int] | None = None
    with Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    ) as progress:
        bar = progress.add_task("gathering", total=story.units_total, note="")
        try:
            async for line in crowd.stdout:
                told = json.loads(line)
                placed = told.get("placed_units", 0)
                done = told.get("sold_units", 0) if told["phase"] == "paying" else placed
                progress.update(
                    bar,
                    description={"rush": "units held", "paying": "units paid"}.get(
                        told["phase"], told["phase"]
                    ),
                    completed=done,
                    note=f"{told.get('attempts', 0)} attempts",
                )
                if wishes.fault and breaking is None and told["phase"] == "rush":
                    breaking = asyncio.create_task(
                        _break_in_the_middle(console, wishes.fault, settings, supervisor, story)
                    )
            code = await crowd.wait()
        finally:
            leaving.cancel()
            if crowd.returncode is None:
                crowd.terminate()
    if not result.exists():
        return None
    seen: dict[str, Any] = json.loads(result.read_text())
    broken = {"fault": wishes.fault, "fault_at_units": await breaking if breaking else None}
    return {**seen, "crowd_exit_code": code, **broken}


async def _send_home(crowd: asyncio.subprocess.Process, stop: asyncio.Event) -> None:
    await stop.wait()
    with contextlib.suppress(ProcessLookupError):
        crowd.terminate()


async def _break_in_the_middle(
    console: Console, fault: Fault, settings: Settings, supervisor: Supervisor, story: Story
) -> int:
    """Wait until a third of the units is held, break something, and return how many were held by then."""
    database = Database(str(settings.database_url), connections_max=1)
    try:
        while True:
            async with database.begin() as sql:
                units = (await sql.execute(_UNITS, {"stream_id": story.stream_id})).one()
            if units.reserved + units.sold >= FAULT_AFTER * units.total:
                await _break(console, fault, settings, supervisor)
                return int(units.reserved + units.sold)
            await asyncio.sleep(0.005)
    finally:
        await database.close()


async def _break(
    console: Console, fault: Fault, settings: Settings, supervisor: Supervisor
) -> None:
    """Do the damage that was asked for, in the middle of the rush."""
    if fault == "flushall":
        redis = Redis.from_url(str(settings.redis_url), protocol=3)
        await redis.flushall()
        await redis.aclose()
        console.print("[yellow]FLUSHALL: the gate is gone[/yellow]")
        return
    for child in supervisor.children:
        if child.name.startswith(("api", "worker")) and child.process is not None:
            child.process.send_signal(signal.SIGKILL)
            console.print(f"[yellow]kill -9 {child.name}[/yellow]")


async def _until_rest(settings: Settings) -> None:
    """Wait until no order waits for money, no event for settlement, no entry for its seal, no hold for SQL."""
    database = Database(str(settings.database_url), connections_max=1)
    try:
        for _ in range(REST_S_MAX * 2):
            async with database.begin() as sql:
                if (await sql.execute(_OPEN)).scalar_one() == 0:
                    break
            await asyncio.sleep(0.5)
        await asyncio.sleep(1.0)  # a tick for the relay and the announcer to say the last of it
    finally:
        await database.close()


async def _figures(
    settings: Settings, story: Story, seen: dict[str, Any], report: Report
) -> dict[str, Any]:
    database = Database(str(settings.database_url), connections_max=1)
    one = {"stream_id": story.stream_id}
    try:
        async with database.begin() as sql:
            units = (await sql.execute(_UNITS, one)).one()
            durable = (await sql.execute(_DURABLE)).scalar_one()
            paid = (await sql.execute(_PAID, one)).scalar_one()
            tally = (await sql.execute(_TALLY, one)).scalar_one_or_none()
            ledger = (await sql.execute(_LEDGER, one)).scalar_one()
            steps = seen.pop("screens")
            delay = await screen_delay(sql, story.stream_id, steps, seen["viewers"])
    finally:
        await database.close()
    return {
        **seen,
        **delay,
        "units_total": units.total,
        "units_sold": units.sold,
        "oversold": max(0, units.reserved + units.sold - units.total),
        "durable": durable,
        "paid": paid,
        "tally_minor": tally,
        "ledger_minor": int(ledger),
        "pay_rate_per_s": settings.pay_rate_per_s,
        "invariants_checked": report.checked,
        "invariants_failed": len(report.failed),
    }


def _faults(figures: dict[str, Any]) -> list[str]:
    """Return what is wrong with the figures; an empty list is the verdict everybody wants."""
    faults = [
        f"{name} is {figures[name]}, not 0"
        for name in ("oversold", "lost", "duplicated", "invariants_failed", "crowd_exit_code")
        if figures.get(name) != 0
    ]
    if figures["units_sold"] != figures["units_total"]:
        faults.append(f"sold {figures['units_sold']} of {figures['units_total']} units")
    if not figures["tally_minor"] == figures["ledger_minor"] == figures["overlay_last_minor"]:
        faults.append("tally, ledger and overlay differ")
    if figures["acknowledged"] > figures["durable"]:
        faults.append("more orders were acknowledged than are durable")
    if figures["fault"] and figures["fault_at_units"] >= figures["units_total"]:
        faults.append("the stock was gone before the fault could be injected")
    return faults


def _print_figures(
    console: Console, figures: dict[str, Any], faults: list[str], report: Report
) -> None:
    for name, value in figures.items():
        if isinstance(value, (int, float, str)) and not isinstance(value, bool):
            console.print(f"  {name:<26} {value}")
    met = "met" if figures["commit_to_screen_met"] else "MISSED"
    console.print(
        f"  {met} commit_to_screen_ms_p99: at most {GOAL_MS}, {figures['viewers']} viewers"
    )
    if report.failed:
        print_report(report)
    if faults:
        for fault in faults:
            console.print(f"[red]  {fault}[/red]")
    else:
        console.print(
            "[green]  not one unit too many, not one order lost, every total the ledger's[/green]"
        )
