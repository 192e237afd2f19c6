"""A line of text with a sale's figures in it, for chat bots that can read an address and say what it answers.

The line is filled from published states and adds nothing up. What is not known is a dash, never a zero.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stream_events.money import exponent

TEMPLATE_CHARS_MAX: Final = 500
MISSING: Final = "—"

Language = Literal["en", "zh"]
State = Mapping[str, Any]

# As browsers write them where space is short; whatever has no sign of its own keeps its code.
_SIGNS: Final = {
    "AUD": "$",
    "BRL": "R$",
    "CAD": "$",
    "CNY": "¥",
    "EUR": "€",
    "GBP": "£",
    "HKD": "$",
    "ILS": "₪",
    "INR": "₹",
    "JPY": "¥",
    "KRW": "₩",
    "MXN": "$",
    "NZD": "$",
    "PHP": "₱",
    "SGD": "$",
    "THB": "฿",
    "TWD": "$",
    "UAH": "₴",
    "USD": "$",
    "VND": "₫",
}
# For a Chinese reader a yuan sign alone is the yuan, and a dollar says whose it is.
_SIGNS_ZH: Final = _SIGNS | {
    "AUD": "AU$",
    "CAD": "CA$",
    "HKD": "HK$",
    "JPY": "JP¥",
    "NZD": "NZ$",
    "TWD": "NT$",
}
_LIVES: Final = {
    "scheduled": ("soon", "即将开始"),
    "live": ("live", "直播中"),
    "ended": ("ended", "已结束"),
    "settled": ("ended", "已结束"),
}
_PLACEHOLDER: Final = re.compile(r"\{([^{}]*)\}")


def money_text(amount_minor: int, currency: str, language: Language) -> str:
    """Return an exact amount with its sign, its digits in groups of three."""
    decimals = exponent(currency)
    digits = str(abs(amount_minor)).rjust(decimals + 1, "0")
    whole, rest = (digits[:-decimals], f".{digits[-decimals:]}") if decimals else (digits, "")
    signs = _SIGNS_ZH if language == "zh" else _SIGNS
    minus = "-" if amount_minor < 0 else ""
    return f"{minus}{signs.get(currency, f'{currency} ')}{int(whole):,}{rest}"


@dataclass(frozen=True, slots=True)
class Line:
    """The newest states of a stream by part, and how they are told: in which language, and where the shop is."""

    states: Mapping[str, State]
    url: str
    language: Language

    def fill(self, template: str) -> str:
        """Return the line. Only known placeholders may be in it; what was typed around them stays as it is."""
        return one_line(_PLACEHOLDER.sub(lambda found: PLACEHOLDERS[found[1]](self), template))

    def goal_minor(self) -> int:
        """Return the goal, 0 for none."""
        return int(self.states.get("tally", {}).get("goal_minor", 0))

    def count(self, part: str, field: str) -> str:
        """Return a count as it is shown."""
        state = self.states.get(part)
        return MISSING if state is None else f"{state[field]:,}"

    def money(self, part: str, field: str) -> str:
        """Return an amount of a state as it is shown."""
        state = self.states.get(part)
        return MISSING if state is None else self.amount(state[field], state)

    def amount(self, amount_minor: int, beside: State) -> str:
        """Return an amount in the currency that stands beside it."""
        return money_text(amount_minor, beside["currency"], self.language)

    def named(self, thing: State, field: str) -> str:
        """Return a text in the language, where there is one."""
        chinese = thing[f"{field}_zh"] if self.language == "zh" else None
        return str(chinese or thing[field])

    def next_step(self) -> State | None:
        """Return the lowest milestone that is not reached."""
        steps = self.states.get("milestones", {}).get("items", ())
        return next((step for step in steps if not step["reached"]), None)

    def card(self) -> State | None:
        """Return the product that the host put up, or the only one there is."""
        board = self.states.get("board", {})
        cards = board.get("cards", ())
        pinned = [card for card in cards if card["sku"] == board["pinned_sku"]]
        return pinned[0] if pinned else cards[0] if len(cards) == 1 else None

    def pot(self) -> State | None:
        """Return the match that is drawn from now."""
        pots = self.states.get("matches", {}).get("items", ())
        return next((pot for pot in pots if pot["on"]), None)


def _raised(line: Line) -> str:
    return line.money("tally", "raised_minor")


def _goal(line: Line) -> str:
    return line.money("tally", "goal_minor") if line.goal_minor() else MISSING


def _to_go(line: Line) -> str:
    tally = line.states.get("tally")
    if tally is None or not line.goal_minor():
        return MISSING
    return line.amount(max(0, tally["goal_minor"] - tally["raised_minor"]), tally)


def _percent(line: Line) -> str:
    tally, goal_minor = line.states.get("tally"), line.goal_minor()
    # Rounded down: nobody says 100 % before the goal is reached.
    return (
        f"{max(0, tally['raised_minor']) * 100 // goal_minor}%" if tally and goal_minor else MISSING
    )


def _units(line: Line) -> str:
    return line.count("tally", "units")


def _orders(line: Line) -> str:
    return line.count("tally", "orders")


def _gifts(line: Line) -> str:
    return line.count("tally", "gifts")


def _tonight(line: Line) -> str:
    return line.money("tonight", "raised_minor")


def _next_milestone(line: Line) -> str:
    step = line.next_step()
    return MISSING if step is None else line.named(step, "title")


def _to_next_milestone(line: Line) -> str:
    step = line.next_step()
    if step is None:
        return MISSING
    if step["counts"] == "units":
        return f"{step['missing']:,}"
    return line.amount(step["missing"], line.states["milestones"])


def _product(line: Line) -> str:
    card = line.card()
    return MISSING if card is None else line.named(card, "name")


def _price(line: Line) -> str:
    card = line.card()
    return MISSING if card is None else line.amount(card["price_minor"], line.states["board"])


def _left(line: Line) -> str:
    """Return what is left of the product that is up; of several with none up, there is no one figure."""
    card, stock = line.card(), line.states.get("stock", {}).get("items", ())
    items = [item for item in stock if card is None or item["sku"] == card["sku"]]
    return f"{items[0]['left']:,}" if len(items) == 1 else MISSING


def _match_left(line: Line) -> str:
    pot = line.pot()
    return MISSING if pot is None else line.amount(pot["left_minor"], line.states["matches"])


def _match_ratio(line: Line) -> str:
    """Return what a gift becomes: ×2 where the sponsor adds as much again."""
    pot = line.pot()
    if pot is None:
        return MISSING
    whole, rest = divmod(10_000 + pot["ratio_bp"], 10_000)
    return f"×{whole}" + (f".{rest:04}".rstrip("0") if rest else "")


def _top_giver(line: Line) -> str:
    leaders = line.states.get("leaders", {}).get("stream", ())
    return str(leaders[0]["name"]) if leaders else MISSING


def _state(line: Line) -> str:
    status = line.states.get("status")
    return MISSING if status is None else _LIVES[status["state"]][line.language == "zh"]


def _shop(line: Line) -> str:
    return str(line.states.get("board", {}).get("shop_url") or line.url)


PLACEHOLDERS: Final[Mapping[str, Callable[[Line], str]]] = {
    "raised": _raised,
    "goal": _goal,
    "to_go": _to_go,
    "percent": _percent,
    "units": _units,
    "orders": _orders,
    "gifts": _gifts,
    "tonight": _tonight,
    "next_milestone": _next_milestone,
    "to_next_milestone": _to_next_milestone,
    "product": _product,
    "price": _price,
    "left": _left,
    "match_left": _match_left,
    "match_ratio": _match_ratio,
    "top_giver": _top_giver,
    "state": _state,
    "url": _shop,
}


def unknown_placeholders(template: str) -> list[str]:
    """Return the placeholders of a template that stand for nothing."""
    return [name for name in _PLACEHOLDER.findall(template) if name not in PLACEHOLDERS]


def one_line(text: str) -> str:
    """Return a text as one line without anything that a chat would act on or not show: names are typed by people."""
    spaced = "".join(
        " " if unicodedata.category(one) in ("Cc", "Zl", "Zp") else one
        for one in text
        if unicodedata.category(one) not in ("Cf", "Cs")
    )
    return " ".join(spaced.split())
