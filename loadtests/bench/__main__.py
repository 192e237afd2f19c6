"""``python -m loadtests.bench NAME --json FILE``: measure beside the alternatives, and write what was found.

Exit code 0: measured, whether or not the targets are met (FILE says); 1: a run was wrong, and counts for nothing.
"""

import argparse
import json
import sys
from pathlib import Path

import uvloop

from loadtests.bench.contenders import WrongRun
from loadtests.bench.sellout import LEVELS, sellout


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.bench", description=__doc__)
    parser.add_argument("name", choices=["sellout"])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3, help="medians are of so many runs")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long a run is")
    parser.add_argument("--connections", type=int, nargs="+", default=list(LEVELS))
    asked = parser.parse_args()
    try:
        report = uvloop.run(sellout(asked.rounds, asked.seconds, asked.connections))
    except (WrongRun, RuntimeError, TimeoutError) as error:
        print(f"the bench failed: {str(error) or 'it took too long'}", file=sys.stderr)
        return 1
    asked.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    for name, met in report["met"].items():
        found = report["ratios"].get(name, report["results"].get(name))
        bound, value = next(iter(report["targets"][name].items()))
        print(
            f"{'met ' if met else 'MISSED'} {name}: {found:.2f} ({bound.replace('_', ' ')} {value})"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
