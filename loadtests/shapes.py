"""How a rush comes: a few before the opening, everybody at once, then those who stay."""

import os
from typing import ClassVar

from locust import LoadTestShape


class Rush(LoadTestShape):
    """Part of the crowd waits, all come within seconds, most leave.

    In the environment, CROWD says how many they are (500), RUSH_SECONDS how long it takes from first to last (180).
    """

    # until when in percent of the time, how many in percent of the crowd, and of these how many arrive a second
    stages: ClassVar[tuple[tuple[int, int, int], ...]] = (
        (10, 10, 20),
        (70, 100, 25),
        (100, 20, 10),
    )

    def tick(self) -> tuple[int, float] | None:
        """Tell Locust how many there should be now; None ends the test."""
        crowd = int(os.environ.get("CROWD", "500"))
        seconds = int(os.environ.get("RUSH_SECONDS", "180"))
        passed_s = float(self.get_run_time())  # type: ignore[no-untyped-call]
        for until, share, rate in self.stages:
            if passed_s * 100 < until * seconds:
                return max(1, crowd * share // 100), max(1.0, crowd * rate / 100)
        return None
