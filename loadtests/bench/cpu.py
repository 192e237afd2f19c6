"""CPU time of processes and all they started, from ``/proc``: what an order costs, whatever else the machine does.

On a busy machine rates sink for all, and not alike; CPU time a request hardly moves. Where there is no ``/proc``
nothing is told.
"""

import os
from pathlib import Path

PROC = Path("/proc")


def tree_cpu_s(pid: int) -> float | None:
    """Return the CPU seconds of a process and its living descendants; None where that cannot be known."""
    try:
        own = _cpu_s(pid)
        children = _children(pid)
    except OSError:
        return None
    return own + sum(tree_cpu_s(child) or 0.0 for child in children)


def _cpu_s(pid: int) -> float:
    # The name in parentheses may hold anything, so fields are counted from behind it.
    fields = (PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in (PROC / str(pid) / "task").iterdir():
        found += [int(child) for child in (task / "children").read_text("ascii").split()]
    return found


def exact_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process's living threads to the nanosecond; to the tick where that is not told."""
    try:
        return sum(
            int((task / "schedstat").read_text("ascii").split()[0]) / 1e9
            for task in (PROC / str(pid) / "task").iterdir()
        )
    except OSError:
        return tree_cpu_s(pid) or 0.0


def resident_kib(pid: int) -> float:
    """Return the resident memory of a process in KiB; 0 where that is not told."""
    try:
        lines = (PROC / str(pid) / "status").read_text("utf-8", "replace").splitlines()
    except OSError:
        return 0.0
    return next((float(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0.0)
