"""Public identifiers: a type prefix and a UUIDv7, so that an id says what it names and sorts by time.

The standard library of our oldest Python has no UUIDv7 (RFC 9562, section 5.7), and a counter would repeat
itself after a restore from backup.
"""

import os
import time

_RAND_B_MASK = (1 << 62) - 1


def new_id(prefix: str) -> str:
    """Return ``prefix_`` and 32 hex digits of a fresh UUIDv7: 48 bits of ms time, 74 random bits."""
    random = int.from_bytes(os.urandom(10), "big")
    value = (
        (time.time_ns() // 1_000_000) << 80
        | 0x7 << 76
        | ((random >> 62) & 0xFFF) << 64
        | 0b10 << 62
        | (random & _RAND_B_MASK)
    )
    return f"{prefix}_{value:032x}"
