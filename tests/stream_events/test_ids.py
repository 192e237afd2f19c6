"""Ids: UUIDv7 by the letter, and never twice."""

import uuid

from stream_events.ids import new_id


def test_ids_are_uuid7_sorted_by_time_and_never_twice() -> None:
    ids = [new_id("ord") for _ in range(5000)]
    assert len(set(ids)) == len(ids)
    for made in ids[:500]:
        prefix, _, digits = made.partition("_")
        parsed = uuid.UUID(hex=digits)
        assert (prefix, parsed.version, parsed.variant) == ("ord", 7, uuid.RFC_4122)
    assert ids[0][:16] <= ids[-1][:16]
