"""A peer: FastAPI's websocket endpoint as its documentation has it, which awaits each socket in turn."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from loadtests.bench.peers.fanout_stdin import follow

viewers: set[WebSocket] = set()


async def tell(text: str) -> None:
    """Send a frame to everybody."""
    for viewer in list(viewers):
        await viewer.send_text(text)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Follow what there is to tell while the server runs."""
    following = asyncio.create_task(follow(tell))
    yield
    following.cancel()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def watch(viewer: WebSocket) -> None:
    """Let somebody watch."""
    await viewer.accept()
    viewers.add(viewer)
    try:
        while True:
            await viewer.receive_text()
    except WebSocketDisconnect:
        return
    finally:
        viewers.discard(viewer)
