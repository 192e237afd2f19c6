"""The sandbox's own time, which tests move forward to see keys pruned after 24 h and tokens expire after 12 h."""

import time


class Clock:
    """Wall time plus an offset that only grows; webhooks are still signed in true wall time."""

    def __init__(self) -> None:
        self.ahead_s = 0

    def now_s(self) -> int:
        return int(time.time()) + self.ahead_s

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000 + self.ahead_s * 1000
