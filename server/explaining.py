"""``stream-events explain``: the life of an order as lines of text, or as JSON."""

import re
from collections.abc import Iterator

from orders.answers.explain import explain
from orders.answers.schemas import ExplanationOut
from orders.answers.words import Lang, money
from server.settings import Settings
from stream_events.database import Database
from stream_events.schemas import id_pattern, instant_text

__all__ = ["explain_order", "lines_of"]


async def explain_order(settings: Settings, order_id: str, lang: Lang) -> ExplanationOut | None:
    """Return an order's life from the deployment's database; None when there is no such order."""
    if not re.fullmatch(id_pattern("ord"), order_id):
        return None
    database = Database(
        str(settings.database_url), connections_max=1, application_name="stream-events explain"
    )
    try:
        async with database.begin() as sql:
            return await explain(sql, order_id, lang)
    finally:
        await database.close()


def lines_of(found: ExplanationOut, lang: Lang) -> Iterator[str]:
    """Yield an order's life for reading: how it stands, then one line for each thing that happened."""
    amounts = [
        money(amount_minor, found.currency)
        for amount_minor in (
            found.total_minor,
            found.received_minor,
            found.refunded_minor,
            found.disputed_minor,
        )
    ]
    if lang == "en":
        head = "{0}: {1}, {2}. Total {3}, received {4}, given back {5}, disputed {6}. {7}"
        contact = ("No contact is on file.", "A contact is on file.")[found.contact_given]
        more = "More happened than is shown here."
    else:
        head = "{0}：{1}，{2}。合计 {3}，已收 {4}，已退 {5}，争议中 {6}。{7}"
        contact = ("无收货信息。", "有收货信息。")[found.contact_given]
        more = "还有未显示的记录。"
    yield head.format(found.order_id, found.kind, found.state, *amounts, contact)
    for each in found.items:
        yield f"{instant_text(each.at)}  {each.text}"
    if not found.complete:
        yield more
