"""How a peer of the fan-out bench gets its frames: a line each on standard input, so that no bus costs it anything."""

import asyncio
import sys
from collections.abc import Awaitable, Callable


async def follow(tell: Callable[[str], Awaitable[None]]) -> None:
    """Hand each line that comes in to ``tell``, one after the other, until there are no more."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        await tell(line.decode().rstrip("\n"))
