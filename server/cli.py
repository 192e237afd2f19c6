"""``stream-events``: the commands of a deployment."""

import asyncio
import gc
import json
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from server.starting import engines_of, load, run, running
from server.topics_command import topics

# Importing makes objects that stay: to walk them again and again was a third of each start. ``run`` has it back on.
gc.disable()

app = typer.Typer(
    help="A charity livestream as a shop that cannot oversell and a total that cannot lie.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
keys = typer.Typer(
    help="Credentials: the first operator, and keys that were lost.", no_args_is_help=True
)
app.add_typer(keys, name="keys")
app.add_typer(topics, name="topics")

Fault = Literal["kill9", "flushall"]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder (STREAM_EVENTS_DATA_DIR).")]

Order = Annotated[str | None, typer.Argument(help="The order or gift (ord_…).")]
ShopperId = Annotated[
    str | None, typer.Option("--shopper", help="All orders of a shopper (shp_…).")
]


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
    from server.migrate import upgrade
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
    import uvicorn

    from server.app import create_app
    from server.processes import end_with_parent

    settings = load()
    leaving_now = asyncio.Event()
    config = uvicorn.Config(
        create_app(settings, leaving_now),
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_level="warning",
        log_config=None,  # ours: it quotes nobody
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=10,
    )

    class Server(uvicorn.Server):
        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            leaving_now.set()
            await super().shutdown(sockets)

    server = Server(config)

    async def main() -> None:
        gone = asyncio.Event()
        watch = asyncio.create_task(end_with_parent(gone))

        async def leave() -> None:
            await gone.wait()
            server.should_exit = True

        leaving = asyncio.create_task(leave())
        settle_garbage(rush=True)
        await server.serve(sockets=[socket.socket(fileno=fd)])
        watch.cancel()
        leaving.cancel()

    run(main())


def settle_garbage(*, rush: bool) -> None:
    """Take what lives as long as the process out of the collector's rounds; before a rush, have fewer rounds.

    A rush keeps tens of thousands of young objects alive for milliseconds; the default thresholds made the
    collector a fifth of what an order costs. There cycles are rare: nearly everything dies by its count. Each websocket
    that ends leaves a cycle, though: a gateway under these thresholds kept all the viewers it ever had.
    """
    gc.collect()
    gc.freeze()
    if rush:
        gc.set_threshold(10_000, 20, 10)


@app.command(hidden=True)
def worker() -> None:
    """Run the loops: gates, pacer, expiry, settlement, refunds, reconciler, announcer."""
    from server.processes import end_with_parent, stop_on_signals
    from server.worker import run_worker

    settings = load()

    async def main() -> None:
        stop = stop_on_signals()
        watch = asyncio.create_task(end_with_parent(stop))
        settle_garbage(rush=True)
        await run_worker(settings, stop)
        stop.set()
        await watch

    run(main())


@app.command(hidden=True)
def gateway() -> None:
    """Serve viewers over websockets."""
    from realtime.gateway_process import run_gateway
    from realtime.site import build_of_static
    from server.processes import end_with_parent, stop_on_signals
    from stream_events.access import Signer

    settings = load()

    async def main() -> None:
        stop = stop_on_signals()
        watch = asyncio.create_task(end_with_parent(stop))
        settle_garbage(rush=False)
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
    import uvicorn

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
            log_config=None,
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
    from server.migrate import upgrade
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


@app.command("export")
def export_command(order: Order = None, shopper: ShopperId = None, data: Data = None) -> None:
    """Print all that is stored about the person behind an order, or a shopper's orders, as JSON."""
    from server.personal import export_all

    found = run(export_all(running(load(data_dir=data)), order, shopper))
    print(json.dumps(found, indent=2, ensure_ascii=False))
    raise typer.Exit(0 if found else 1)


@app.command("erase")
def erase_command(
    order: Order = None,
    shopper: ShopperId = None,
    yes: Annotated[bool, typer.Option("--yes", help="Erase; without it, only count.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Even where a parcel still needs the address.")
    ] = False,
    data: Data = None,
) -> None:
    """Erase all that is stored about the person behind an order, for good. The books stay as they are."""
    from server.personal import erase_all, lines_of

    found = run(erase_all(running(load(data_dir=data)), order, shopper, yes=yes, force=force))
    print("\n".join(lines_of(found, yes=yes)))
    raise typer.Exit(0 if found and all(each.erased for each in found) else 1)


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
