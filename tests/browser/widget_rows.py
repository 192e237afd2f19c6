"""The table of overlay widgets for ``test_widgets``: what each shows of the first state of all topics and of the second.

A new widget gets a row here, and where no topic of ``story`` changes its words, a second state in ``states_after``.
"""

import time
from dataclasses import dataclass
from typing import Any

from tests.browser import people
from tests.browser.story import BOARD, MILESTONES, STOCK, TALLY, TOPICS, rfc3339


@dataclass(frozen=True)
class Row:
    """A widget, and what is read of it in the first state and in the second.

    ``back`` is what it says once the first state came again, where that is not ``first``. A ``loud`` widget may say
    something while hidden or take its words off by itself.
    """

    widget: str
    first: str
    then: str
    query: str = ""
    where: str = "#plate"
    back: str | None = None
    loud: bool = False

    @property
    def name(self) -> str:
        """Return what a picture and a failure are called."""
        return self.widget + self.query.translate(str.maketrans("?=&", "---"))

    def text(self, version: int) -> str:
        """Return what is read in a version of the topics."""
        again = self.first if self.back is None else self.back
        return {1: self.first, 2: self.then, 3: again}[version]


def closing_in(seconds: int) -> dict[str, Any]:
    """Return a timer that runs out after ``seconds``."""
    return {"what": "closes", "at": rfc3339(time.time() + seconds)}


def people_of(seen: int) -> dict[str, dict[str, Any]]:
    """Return the topics about people; ``seen`` is what tells one state from the next."""
    alert = people.on_air(f"air_{seen}", units=seen, ends_at=people.instant(120))
    farmer = people.FARMERS["items"][0] | {"income_minor": 100_000 * seen}
    first = people.LEADERS["stream"][0] | {"amount_minor": 1_000_000 * seen}
    return {
        "alerts/main": people.alerts(alert),
        "names": people.NAMES | {"count": 3000 + seen},
        "leaders": people.LEADERS | {"stream": [first, *people.LEADERS["stream"][1:]]},
        "matches": {"currency": "CNY", "items": [people.pot(left_minor=10_000 * seen)]},
        "farmers": people.FARMERS | {"items": [farmer]},
    }


def states_before() -> dict[str, dict[str, Any]]:
    """Return the first state of every topic."""
    return TOPICS | people_of(2) | {"board": BOARD | {"timer": closing_in(755)}}


def states_after() -> dict[str, dict[str, Any]]:
    """Return the second: the peanuts are gone, the goal is reached, one bag is missing to the next step."""
    peanuts, *others = STOCK["items"]
    gone = peanuts | {"left": 0, "reserved": 0, "sold": peanuts["total"]}
    sung, court, *steps = MILESTONES["items"]
    shop = {"shop_url": "https://nuts.example/", "timer": closing_in(1355)}
    return (
        TOPICS
        | people_of(7)
        | {
            "tally": TALLY | {"raised_minor": 5_000_000, "units": 9065, "orders": 3067},
            "stock": STOCK | {"items": [gone, *others]},
            "milestones": MILESTONES | {"items": [sung, court | {"missing": 1}, *steps]},
            "board": BOARD | shop,
        }
    )


ROWS: tuple[Row, ...] = (
    Row("tally", "¥12,845.60", "¥50,000.00"),
    Row("tally", "9,064", "9,065", "?metric=units&theme=day"),
    Row("goal", "25%", "100%", "?theme=paper"),
    Row("goal", "25%", "100%", "?style=ring"),
    Row("goal", "¥12,845.60 of ¥50,000", "Goal reached!", "?style=text&bg=none"),
    Row("milestones", "37 bags to go", "1 bag to go"),
    Row("product", "7,213 bags left", "SOLD OUT"),
    Row("product", "Plenty left", "SOLD OUT", "?stock=band&theme=paper&qr=0"),
    Row("stock", "7,213 / 11,483", "SOLD OUT", "?theme=day", "[data-sku=PEANUT-5KG]"),
    Row("countdown", "12:", "22:"),
    Row("qr", "give.example/shop/str_peanuts", "nuts.example"),
    Row("health", "v1 ", "v2 ", where="[data-topic=tally]", back="v3 "),
    Row("alerts", "bought 2 bags", "bought 7 bags", "?theme=day"),
    Row("ticker", "3,002", "3,007"),
    Row("leaderboard", "¥20,000", "¥70,000", "?theme=paper"),
    Row("match", "¥200", "¥700"),
    Row("farmer", "¥2,000.00", "¥7,000.00"),
    Row("all", "¥12,845.60", "¥50,000.00"),
    Row("all", "25%", "100%", "?layout=vertical&theme=day"),
)
