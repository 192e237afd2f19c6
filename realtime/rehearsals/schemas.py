"""The shapes of a rehearsal over HTTP."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from realtime.board_schemas import InstantText
from stream_events.schemas import Body, id_pattern


class NewRehearsal(Body):
    """Which earlier stream to play once more, and how fast."""

    of_stream_id: Annotated[str, Field(pattern=id_pattern("str"), examples=["str_0197"])]
    speed: Annotated[
        Literal[1, 10], Field(description="10 plays an hour of that night in six minutes.")
    ] = 1


class RehearsalAnswer(BaseModel):
    """A stream's rehearsal; ``of_stream_id`` is null while there is none.

    ``position_s`` is how far into the night it is, of ``length_s``. Once it ``finished``, the last state stays on screen.
    """

    of_stream_id: str | None = None
    speed: int | None = None
    started_at: InstantText | None = None
    position_s: int | None = None
    length_s: int | None = None
    finished: bool = False
