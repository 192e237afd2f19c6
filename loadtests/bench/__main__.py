"""``python -m loadtests.bench NAME --json FILE``: measure beside the alternatives, and write what was found.

Exit code 0: measured, whether or not the targets are met (FILE says); 1: a run was wrong, and counts for nothing.
"""

import argparse
import json
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import uvloop

from loadtests.bench.broadcasters import PEERS
from loadtests.bench.contenders import WrongRun
from loadtests.bench.fanout import SCALING, fanout
from loadtests.bench.sellout import LEVELS, sellout
from loadtests.bench.settle import ORDERS, settle
from loadtests.bench.sockets import MINUTES, MUTE, SOCKETS, sockets


def main() -> int:
    """Run from the command line."""
    asked = parser().parse_args()
    try:
        report = uvloop.run(bench(asked))
    except (WrongRun, RuntimeError, TimeoutError) as error:
        print(f"the bench failed: {str(error) or 'it took too long'}", file=sys.stderr)
        return 1
    asked.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    for name, met in report["met"].items():
        found = report["ratios"].get(name, report["results"].get(name))
        bound, value = next(iter(report["targets"][name].items()))
        told = "not measured" if found is None else f"{found:.2f}"
        print(f"{'met ' if met else 'MISSED'} {name}: {told} ({bound.replace('_', ' ')} {value})")
    for name, reason in report["results"].get("not_measured", {}).items():
        print(f"not measured: {name}: {reason}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line: a bench, and options of its own."""
    made = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    names = made.add_subparsers(dest="name", required=True)
    for name, about in (
        ("sellout", "the order path, from HTTP to durable, beside four others"),
        ("settle", "Stripe's word to a sealed total, beside one transaction a webhook"),
        ("fanout", "one frame to every viewer, beside four others"),
        ("sockets", "all viewers cut at once, and viewers that never read"),
    ):
        bench = names.add_parser(name, help=about)
        bench.add_argument("--json", type=Path, required=True)
        if name == "sockets":
            bench.add_argument("--sockets", type=int, default=SOCKETS, help="cut at once")
            bench.add_argument("--mute", type=int, default=MUTE, help="viewers that never read")
            bench.add_argument("--minutes", type=float, default=MINUTES, help="of not reading")
            continue
        bench.add_argument("--rounds", type=int, default=3, help="medians are of so many runs")
        if name == "sellout":
            bench.add_argument("--seconds", type=float, default=2.0, help="how long a run is")
            bench.add_argument("--connections", type=int, nargs="+", default=list(LEVELS))
        elif name == "fanout":
            bench.add_argument("--seconds", type=float, default=8.0, help="how long a run is")
            bench.add_argument("--viewers", type=int, nargs="*", default=list(SCALING))
            bench.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
        else:
            bench.add_argument("--orders", type=int, default=ORDERS, help="paid in each run")
    return made


def bench(asked: argparse.Namespace) -> Coroutine[Any, Any, dict[str, Any]]:
    """Return the bench that was asked for, ready to run."""
    if asked.name == "sellout":
        return sellout(asked.rounds, asked.seconds, asked.connections)
    if asked.name == "fanout":
        return fanout(asked.rounds, asked.seconds, asked.viewers, asked.peers)
    if asked.name == "sockets":
        return sockets(asked.sockets, asked.mute, asked.minutes)
    return settle(asked.rounds, asked.orders)


if __name__ == "__main__":
    sys.exit(main())
