"""``stream-events``: the commands of a deployment."""

import asyncio
import gc
import json
import logging
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
import typer
import uvicorn
import uvloop
from pydantic import ValidationError

from server.embedded import EngineError, Engines, attach_engines, start_engines
from server.migrate import upgrade
from server.settings import Settings

app = typer.Typer(
    help="A charity livestream as a shop that cannot oversell and a total that cannot lie.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(
    help="Credentials: the first operator, and keys that were lost.", no_args_is_help=True
)
app.add_typer(keys, name="keys")

log = structlog.get_logger(__name__)

Fault = Literal["kill9", "flushall"]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (STREAM_EVENTS_DATA_DIR).")]


def load(**given: Any) -> Settings:
    """Read the settings; what is wrong with them is one clear line and exit code 2."""
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"])
            print(f"setting {where}: {problem['msg']}", file=sys.stderr)
        raise typer.Exit(2) from None
    levels = logging.getLevelNamesMapping()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(levels[settings.log_level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    return settings


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run ``main`` on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)


def engines_of(settings: Settings) -> tuple[Engines, Settings]:
    """Start the engines that no address was given for; return them and the settings that name them all."""
    try:
        engines = start_engines(
            settings.data_dir, database_url=settings.database_url, redis_url=settings.redis_url
        )
    except EngineError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(1) from None
    return engines, with_urls(settings, engines.database_url, engines.redis_url)


def with_urls(settings: Settings, database_url: str, redis_url: str) -> Settings:
    """Return the settings with the addresses of the engines, and an absolute data folder."""
    return settings.model_copy(
        update={
            "database_url": database_url,
            "redis_url": redis_url,
            "data_dir": settings.data_dir.resolve(),
        }
    )


def running(settings: Settings) -> Settings:
    """Return settings that reach the engines of the running server, for commands beside it."""
    if settings.database_url and settings.redis_url:
        return settings
    engines = attach_engines(settings.data_dir)
    if engines is None:
        print(
            f"no server runs on {settings.data_dir}: start it with 'stream-events serve',"
            " or set DATABASE_URL and REDIS_URL",
            file=sys.stderr,
        )
        raise typer.Exit(1)
    return with_urls(
        settings,
        settings.database_url or engines.database_url,
        settings.redis_url or engines.redis_url,
    )


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="HTTP port.")] = None,
    gateway_port: Annotated[int | None, typer.Option(help="Websocket port.")] = None,
    sandbox_port: Annotated[int | None, typer.Option(help="Port of the local Stripe.")] = None,
    api_only: Annotated[
        bool, typer.Option("--api-only", help="No worker and no gateway here: they run elsewhere.")
    ] = False,
) -> None:
    """Start everything that is not configured elsewhere, and serve until Ctrl-C."""
    from server.processes import Supervisor, stop_on_signals

    settings = load(
        data_dir=data, host=host, port=port, gateway_port=gateway_port, sandbox_port=sandbox_port
    )
    engines, settings = engines_of(settings)
    with engines:
        upgrade(str(settings.database_url))
        settings.signing_secret()

        async def main() -> None:
            stop = stop_on_signals()
            links = settings.links()
            print(f"stream-events at {links.public_url} ({links.mode} money); Ctrl-C stops it")
            await Supervisor(settings, workers=not api_only).run(stop)

        run(main())


@app.command(hidden=True)
def api(fd: Annotated[int, typer.Option(help="The listening socket, inherited.")]) -> None:
    """Serve HTTP on a socket that the supervisor opened."""
    from server.app import create_app
    from server.processes import end_with_parent

    settings = load()
    config = uvicorn.Config(
        create_app(settings),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )
    server = uvicorn.Server(config)

    async def main() -> None:
        gone = asyncio.Event()
        watch = asyncio.create_task(end_with_parent(gone))

        async def leave() -> None:
            await gone.wait()
            server.should_exit = True

        leaving = asyncio.create_task(leave())
        settle_garbage()
        await server.serve(sockets=[socket.socket(fileno=fd)])
        watch.cancel()
        leaving.cancel()

    run(main())


def settle_garbage() -> None:
    """Take what lives as long as the process out of the collector's rounds, and have fewer rounds.

    A rush keeps tens of thousands of young objects alive for milliseconds; the default thresholds made the
    collector a fifth of what an order costs. Cycles are rare here: nearly everything dies by its count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


@app.command(hidden=True)
def worker() -> None:
    """Run the loops: gates, pacer, expiry, settlement, refunds, reconciler, announcer."""
    from server.processes import end_with_parent, stop_on_signals
    from server.worker import run_worker

    settings = load()

    async def main() -> None:
        stop = stop_on_signals()
        watch = asyncio.create_task(end_with_parent(stop))
        await run_worker(settings, stop)
        stop.set()
        await watch

    run(main())


@app.command(hidden=True)
def gateway() -> None:
    """Serve viewers over websockets."""
    from realtime.gateway_process import run_gateway
    from realtime.pages_routes import build_of_static
    from server.processes import end_with_parent, stop_on_signals
    from stream_events.access import Signer

    settings = load()

    async def main() -> None:
        stop = stop_on_signals()
        watch = asyncio.create_task(end_with_parent(stop))
        await run_gateway(
            host=settings.host,
            port=settings.gateway_port,
            signer=Signer(settings.signing_secret()),
            redis_url=str(settings.redis_url),
            database_url=str(settings.database_url),
            stop=stop,
            build=build_of_static(),
        )
        stop.set()
        await watch

    run(main())


@app.command(hidden=True)
def sandbox() -> None:
    """Play Stripe on loopback, with play money and a journal in the data folder."""
    from orders.payments.sandbox.app import create_app
    from orders.payments.sandbox.config import SandboxConfig
    from server.processes import end_with_parent, stop_on_signals

    settings = load()
    config = SandboxConfig(
        webhook_url=f"http://127.0.0.1:{settings.port}/v1/webhooks/stripe",
        webhook_secrets=settings.webhook_secrets(),
        rate_per_s=settings.sandbox_rate_per_s,
        journal_path=settings.data_dir / "sandbox.jsonl",
    )
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(config),
            host="127.0.0.1",
            port=settings.sandbox_port,
            loop="uvloop",
            access_log=False,
            log_level="warning",
            server_header=False,
            ws="none",
            lifespan="on",
            timeout_keep_alive=75,
            timeout_graceful_shutdown=3,
        )
    )

    async def main() -> None:
        stop = stop_on_signals()
        watch = asyncio.create_task(end_with_parent(stop))
        serving = asyncio.create_task(server.serve())
        await asyncio.wait(
            [asyncio.create_task(stop.wait()), serving], return_when=asyncio.FIRST_COMPLETED
        )
        server.should_exit = True
        await serving
        stop.set()
        await watch

    run(main())


@app.command()
def engines(data: Data = None) -> None:
    """Run only the engines that come along; print their addresses as one line of JSON. Ctrl-C stops them."""
    from server.processes import stop_on_signals

    started, settings = engines_of(load(data_dir=data))
    with started:
        upgrade(str(settings.database_url))

        async def main() -> None:
            stop = stop_on_signals()
            urls = {"database_url": settings.database_url, "redis_url": settings.redis_url}
            print(json.dumps(urls), flush=True)
            await stop.wait()

        run(main())


@app.command()
def check(
    data: Data = None,
    at_rest: Annotated[
        bool,
        typer.Option("--at-rest", help="Nothing is in flight: check what holds only then, too."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recompute every invariant from the books, the gate and Stripe; exit 1 on a breach."""
    from server.checking import check_deployment, print_report

    report = run(check_deployment(running(load(data_dir=data)), at_rest=at_rest))
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
    else:
        print_report(report)
    raise typer.Exit(1 if report.failed else 0)


@app.command("explain")
def explain_command(
    order: Annotated[str, typer.Argument(help="The order or gift (ord_…).")],
    data: Data = None,
    lang: Annotated[Literal["en", "zh"], typer.Option(help="The language to tell it in.")] = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell the whole life of an order or gift: holds, attempts, events, entries. Nothing in it is personal."""
    from server.explaining import explain_order, lines_of

    found = run(explain_order(running(load(data_dir=data)), order, lang))
    if found is None:
        print("there is no such order", file=sys.stderr)
        raise typer.Exit(1)
    print(found.model_dump_json(indent=2) if as_json else "\n".join(lines_of(found, lang)))


@app.command()
def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="No waiting, free ports, end when it is done.")
    ] = False,
    json_path: Annotated[
        Path | None, typer.Option("--json", help="Write the figures here.")
    ] = None,
    fault: Annotated[Fault | None, typer.Option(help="Break it in the middle of the rush.")] = None,
    stripe_pace: Annotated[
        bool, typer.Option("--stripe-pace", help="Pay at Stripe's pace: honest, and minutes long.")
    ] = False,
    attempts: Annotated[
        int, typer.Option(min=1, help="Order attempts of the crowd, at least.")
    ] = 30_000,
    viewers: Annotated[int, typer.Option(min=1, help="Viewers on websockets.")] = 200,
) -> None:
    """Sell a stream out to a simulated crowd, check every number, and leave it running."""
    from server.demo import Wishes, make_folder, run_demo

    load()
    wishes = Wishes(headless, json_path, fault, stripe_pace, attempts, viewers)
    raise typer.Exit(run(run_demo(wishes, make_folder())))


@keys.command("operator")
def new_operator(
    name: Annotated[str, typer.Argument(help="Whose key it is.")],
    data: Data = None,
) -> None:
    """Let an operator in: make a principal and print its key, once. Needs the machine, not a key."""
    from server.keys import create_operator

    print(run(create_operator(running(load(data_dir=data)), name)))


@keys.command("replace")
def replace_key(
    principal_id: Annotated[str, typer.Argument(help="The principal whose key was lost (prn_…).")],
    data: Data = None,
) -> None:
    """Revoke every key of a principal and print a new one."""
    from server.keys import replace

    print(run(replace(running(load(data_dir=data)), principal_id)))


if __name__ == "__main__":
    app()
