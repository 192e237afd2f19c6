"""Where a figure was measured, because it means nothing elsewhere."""

import os
import platform
from pathlib import Path
from typing import Any

import asyncpg
from redis.asyncio import Redis


def machine() -> dict[str, Any]:
    """Describe the machine: its kind, never its name."""
    return {
        "cores": os.cpu_count(),
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


async def engine_settings(database: asyncpg.Connection, redis: Redis) -> dict[str, Any]:
    """Return what the engines promise: a figure without fsync is another figure."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    settings = {name: await database.fetchval(f"SHOW {name}") for name in names}
    info = await redis.info("server")
    kept = {
        name: (await redis.config_get(name)).get(name) for name in ("appendonly", "appendfsync")
    }
    version = info.get("valkey_version") or info.get("redis_version")
    return {"postgresql": settings, "redis": {"version": version, **kept}}


def _first(path: str, name: str) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(name):
                    return line.partition(":")[2].strip()
    except OSError:
        return None
    return None
