"""A line of text and a QR code from the newest states, and who of other origins may read them."""

import re
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
import segno
from fastapi import APIRouter
from redis.asyncio import Redis

from realtime import text_routes
from realtime.announcer import Known, tick_once
from realtime.newest import Newest
from realtime.text_routes import qr_svg
from realtime.text_template import PLACEHOLDERS, Line, money_text, one_line
from server.cross_origin import CrossOrigin
from stream_events.database import Database
from tests.applications import make_app
from tests.factories import Sale
from tests.realtime.announced import sell
from tests.realtime.conftest import frame


@pytest.fixture
def routers() -> Sequence[APIRouter]:
    return (text_routes.router,)


@pytest.fixture
def board(database: Database, redis: Redis) -> Newest:
    """The newest frames, read when the test says so."""
    return Newest(database, redis)


@pytest.fixture
def app_state(app_state: dict[str, Any], board: Newest) -> dict[str, Any]:
    return {**app_state, "newest": board}


FULL: dict[str, Any] = {
    "tally": {
        "seq": 3,
        "raised_minor": 1_284_560,
        "goal_minor": 5_000_000,
        "currency": "CNY",
        "orders": 1,
        "units": 9064,
        "gifts": 2,
    },
    "tonight": {"raised_minor": 99, "currency": "CNY"},
    "stock": {"items": [{"sku": "A", "left": 1204}, {"sku": "B", "left": 7}]},
    "status": {"state": "live"},
    "board": {
        "currency": "CNY",
        "pinned_sku": "B",
        "shop_url": "https://shop.example/s",
        "cards": [
            {"sku": "A", "name": "Peanuts", "name_zh": None, "price_minor": 1},
            {"sku": "B", "name": "Chestnuts", "name_zh": "板栗", "price_minor": 4580},
        ],
    },
    "milestones": {
        "currency": "CNY",
        "items": [
            {"title": "One", "title_zh": None, "reached": True, "missing": 0, "counts": "money"},
            {"title": "Two", "title_zh": "二", "reached": False, "missing": 500, "counts": "money"},
        ],
    },
    "matches": {
        "currency": "CNY",
        "items": [
            {"on": False, "left_minor": 1, "ratio_bp": 1},
            {"on": True, "left_minor": 12_300, "ratio_bp": 5_000},
        ],
    },
    "leaders": {"stream": [{"name": "李娜\u202e"}]},
}


EACH = (
    ("raised", "¥12,845.60", "¥12,845.60"),
    ("goal", "¥50,000.00", "¥50,000.00"),
    ("to_go", "¥37,154.40", "¥37,154.40"),
    ("percent", "25%", "25%"),
    ("units", "9,064", "9,064"),
    ("orders", "1", "1"),
    ("gifts", "2", "2"),
    ("tonight", "¥0.99", "¥0.99"),
    ("next_milestone", "Two", "二"),
    ("to_next_milestone", "¥5.00", "¥5.00"),
    ("product", "Chestnuts", "板栗"),
    ("price", "¥45.80", "¥45.80"),
    ("left", "7", "7"),
    ("match_left", "¥123.00", "¥123.00"),
    ("match_ratio", "×1.5", "×1.5"),
    ("top_giver", "李娜", "李娜"),
    ("state", "live", "直播中"),
    ("url", "https://shop.example/s", "https://shop.example/s"),
)


def test_every_placeholder_is_tried_below() -> None:
    assert [name for name, _, _ in EACH] == list(PLACEHOLDERS)


@pytest.mark.parametrize(("name", "english", "chinese"), EACH)
def test_each_placeholder(name: str, english: str, chinese: str) -> None:
    assert Line(FULL, "u", "en").fill(f"<{{{name}}}>") == f"<{english}>"
    assert Line(FULL, "u", "zh").fill(f"{{{name}}}") == chinese
    # What is not known is a dash, and the shop has its address all the same.
    assert Line({}, "u", "en").fill(f"{{{name}}}") == ("u" if name == "url" else "—")


def test_nothing_is_told_of_a_product_while_several_are_on_sale_and_none_is_up() -> None:
    states = FULL | {"board": FULL["board"] | {"pinned_sku": None}}
    assert Line(states, "u", "en").fill("{product} {price} {left}") == "— — —"
    alone = states | {
        "board": states["board"] | {"cards": states["board"]["cards"][:1]},
        "stock": {"items": states["stock"]["items"][:1]},
    }
    assert Line(alone, "u", "zh").fill("{product} {left}") == "Peanuts 1,204"


def test_a_goal_of_nothing_has_no_percent_and_none_says_all_too_early() -> None:
    none = {"tally": FULL["tally"] | {"goal_minor": 0}}
    assert Line(none, "u", "en").fill("{goal} {percent} {to_go}") == "— — —"
    nearly = {"tally": FULL["tally"] | {"raised_minor": 4_999_999}}
    assert Line(nearly, "u", "en").fill("{percent}") == "99%"
    past = {"tally": FULL["tally"] | {"raised_minor": 5_000_001}}
    assert Line(past, "u", "en").fill("{percent} {to_go}") == "100% ¥0.00"


@pytest.mark.parametrize(
    ("amount_minor", "currency", "english", "chinese"),
    [
        (0, "CNY", "¥0.00", "¥0.00"),
        (-5, "USD", "-$0.05", "-$0.05"),
        (1_234_567, "JPY", "¥1,234,567", "JP¥1,234,567"),
        (1_234, "KWD", "KWD 1.234", "KWD 1.234"),
        (10**17 + 1, "EUR", "€1,000,000,000,000,000.01", "€1,000,000,000,000,000.01"),
        (100, "HKD", "$1.00", "HK$1.00"),
    ],
)
def test_money_as_text(amount_minor: int, currency: str, english: str, chinese: str) -> None:
    assert money_text(amount_minor, currency, "en") == english
    assert money_text(amount_minor, currency, "zh") == chinese


def test_a_line_is_one_line_without_what_a_chat_acts_on() -> None:
    assert one_line("a\r\nb\u2028c\x00d\t \u202ee\u200b\ud800") == "a b c d e"


async def test_a_bot_gets_the_newest_states_as_text(
    api: httpx.AsyncClient, board: Newest, sale: Sale, database: Database, redis: Redis
) -> None:
    path = f"/v1/streams/{sale.stream_id}/text"
    assert (await api.get(path)).status_code == 404
    known = Known()
    await sell(database, sale, 2)
    await tick_once(database, redis, known)
    await board.load()
    answer = await api.get(
        path, params={"tpl": "{raised}\r\nof {goal} {left} {state}", "lang": "zh"}
    )
    assert answer.text == "¥8.97 of ¥10,000.00 100 直播中"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=1"
    plain = await api.get(path)
    assert plain.text.endswith(f"/shop/{sale.stream_id}")
    assert (await api.get("/v1/streams/str_none/text")).status_code == 404


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"tpl": "{raised} {total}"}, "unknown_placeholder"),
        ({"tpl": "{}"}, "unknown_placeholder"),
        ({"tpl": "{raised.__class__}"}, "unknown_placeholder"),
        ({"tpl": "x" * 501}, "invalid"),
        ({"lang": "fr"}, "invalid"),
    ],
)
async def test_bad_templates(api: httpx.AsyncClient, asked: dict[str, str], code: str) -> None:
    answer = await api.get("/v1/streams/str_1/text", params=asked)
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    if code == "unknown_placeholder":
        assert answer.json()["known"] == list(PLACEHOLDERS)
        assert answer.json()["placeholder"] in asked["tpl"]


async def test_the_qr_code_is_the_shops_address(
    api: httpx.AsyncClient, board: Newest, sale: Sale
) -> None:
    path = f"/v1/streams/{sale.stream_id}/qr.svg"
    assert (await api.get(path)).status_code == 404
    board.publish([frame(1, topic=f"stream/{sale.stream_id}/status")])
    answer = await api.get(path, params={"size": 300, "dark": "234", "light": "fffaf0"})
    assert answer.headers["content-type"] == "image/svg+xml"
    assert 'width="300" height="300"' in answer.text
    assert 'fill="#234"' in answer.text
    expected = segno.make_qr(
        f"http://testserver/shop/{sale.stream_id}", error="m", boost_error=False
    )
    assert expected.error == "M"
    drawn = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", answer.text)}
    # Four modules of quiet zone on each side, as the standard asks for.
    dark = {
        (x + 4, y + 4) for y, row in enumerate(expected.matrix) for x, one in enumerate(row) if one
    }
    assert drawn == dark
    side = len(expected.matrix) + 8
    assert f'viewBox="0 0 {side} {side}"' in answer.text
    again = await api.get(
        path,
        params={"size": 300, "dark": "234", "light": "fffaf0"},
        headers={"if-none-match": answer.headers["etag"]},
    )
    assert again.status_code == 304
    for bad in ({"size": 63}, {"size": 2049}, {"dark": "red"}, {"light": '"/>'}):
        assert (await api.get(path, params=bad)).status_code == 422


def test_a_qr_code_reads_the_same_at_any_size() -> None:
    assert qr_svg("x", 64, "#000", "#fff").replace(b'"64"', b'"99"') == qr_svg(
        "x", 99, "#000", "#fff"
    )


@pytest.mark.parametrize(
    ("method", "path", "opened"),
    [
        ("GET", "/v1/feed", True),
        ("GET", "/v1/feed/events", True),
        ("GET", "/v1/asyncapi.json", True),
        ("GET", "/v1/schemas/tally.json", True),
        ("GET", "/v1/streams/str_1/text", True),
        ("GET", "/v1/streams/str_1/qr.svg", True),
        ("GET", "/v1/streams/str_1/storefront", True),
        ("GET", "/client/stream-events.js", True),
        ("POST", "/v1/socket-tickets", True),
        ("POST", "/v1/feed", False),
        ("GET", "/v1/socket-tickets", False),
        ("GET", "/v1/me", False),
        ("GET", "/v1/streams", False),
        ("GET", "/v1/streams/str_1/screen", False),
        ("POST", "/v1/streams/str_1/orders", False),
        ("GET", "/v1/orders/ord_1", False),
        ("GET", "/", False),
        ("PATCH", "/v1/streams/str_1", False),
    ],
)
async def test_what_scripts_of_other_origins_may_read(
    app_state: dict[str, Any], method: str, path: str, opened: bool
) -> None:
    app = CrossOrigin(make_app((text_routes.router,), app_state))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        origin = {"origin": "https://news.example"}
        answer = await client.request(method, path, headers=origin)
        preflight = await client.options(
            path,
            headers={**origin, "access-control-request-method": method},
        )
    told = answer.headers.get("access-control-allow-origin")
    assert told == ("*" if opened else None)
    assert "access-control-allow-credentials" not in answer.headers
    assert preflight.headers.get("access-control-allow-origin") == told
    assert (preflight.status_code == 204) is opened
    if opened:
        assert "authorization" in preflight.headers["access-control-allow-headers"]
        assert "etag" in answer.headers["access-control-expose-headers"]
