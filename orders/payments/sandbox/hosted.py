"""The pages a shopper is sent to: the checkout page of a session, and the question of a bank or wallet.

Plain forms without any script, so that they work in every browser and under a policy that allows nothing else.
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from orders.payments.sandbox import checkouts, intents, pages
from orders.payments.sandbox.account import Account, Effect
from orders.payments.sandbox.errors import ApiError
from orders.payments.sandbox.forms import Params, text
from orders.payments.sandbox.reads import require_client_secret
from orders.payments.sandbox.records import CheckoutSession, IntentRecord, SessionRecord

Headers = tuple[tuple[bytes, bytes], ...]


class Shown(NamedTuple):
    """An answer to a browser."""

    status: int
    body: bytes
    headers: Headers


class Hosted:
    """Answers everything under /c/."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._style = files(__package__).joinpath("static/hosted.css").read_bytes()

    async def answer(
        self, endpoint: str, object_id: str, params: Params, headers: Mapping[bytes, bytes]
    ) -> Shown:
        """One page for one request; `params` are the query's or the form's."""
        if endpoint == "GET /c/hosted.css":
            return Shown(200, self._style, ((b"content-type", b"text/css; charset=utf-8"), *_SAFE))
        words = pages.words_for(headers.get(b"accept-language", b"").decode("latin-1"))
        faults = self._account.faults
        if faults.outage and faults.endpoint is None:
            return _shown(503, pages.notice_page(words, "outage"))
        try:
            if endpoint in ("GET /c/pay/:id", "POST /c/pay/:id"):
                record = checkouts.find(self._account.books, object_id)
                words = pages.words_for(record.session.locale) if _chosen(record) else words
                return await self._checkout(endpoint, record, params, words)
            if endpoint in ("GET /c/ask/:id", "POST /c/ask/:id"):
                intent_record = intents.find(self._account.books, object_id)
                return await self._ask(endpoint, intent_record, params, words)
        except ApiError as error:
            missing = error.status == 404
            notice = pages.notice_page(words, "missing" if missing else "odd")
            return _shown(404 if missing else 400, notice)
        return _shown(404, pages.notice_page(words, "missing"))

    async def _checkout(
        self, endpoint: str, record: SessionRecord, params: Params, words: pages.Words
    ) -> Shown:
        session, declined = record.session, False
        if endpoint.startswith("POST") and session.status == "open":
            effect = checkouts.answer_bank if "outcome" in params else checkouts.pay
            declined = not await self._done(effect, endpoint, session.id, params)
        if session.status == "complete":
            if endpoint.startswith("POST"):
                url = session.success_url.replace("{CHECKOUT_SESSION_ID}", session.id)
                return _sent_on(url)
            return _shown(200, pages.notice_page(words, "complete"))
        if session.status == "expired":
            return _shown(200, pages.notice_page(words, "expired", session.cancel_url))
        intent = None
        if session.payment_intent is not None:
            intent = self._account.books.intents.by_id[session.payment_intent].intent
        if intent is not None and intent.status == "requires_action":
            page = pages.ask_page(words, intent.amount, intent.currency)
        else:
            declined = declined or bool(intent and intent.last_payment_error)
            page = pages.pay_page(words, session, record.item_name, declined=declined)
        return _shown(200, page, _targets(session))

    async def _ask(
        self, endpoint: str, record: IntentRecord, params: Params, words: pages.Words
    ) -> Shown:
        intent = record.intent
        secret = text(params, "client_secret") or ""
        call = self._account.call(endpoint, intent.id, {"client_secret": secret})
        require_client_secret(call, intent)
        if endpoint.startswith("POST") and intent.status == "requires_action":
            await self._done(intents.authenticate, endpoint, intent.id, params)
        if intent.status == "requires_action":
            hidden = [("client_secret", secret)]
            page = pages.ask_page(words, intent.amount, intent.currency, hidden)
            return _shown(200, page, _targets_of(record.return_url))
        if record.return_url is None:
            return _shown(200, pages.notice_page(words, "done"))
        told = {
            "payment_intent": intent.id,
            "payment_intent_client_secret": secret,
            "redirect_status": "succeeded" if intent.status == "succeeded" else "failed",
        }
        joint = "&" if urlsplit(record.return_url).query else "?"
        return _sent_on(f"{record.return_url}{joint}{urlencode(told)}")

    async def _done(self, effect: Effect, endpoint: str, object_id: str, params: Params) -> bool:
        """Make the call as the page's own; False for a decline. Raises ApiError."""
        call = self._account.call(endpoint, object_id, params)
        call.ours = False
        answer = await self._account.write(effect, call, None, b"")
        if answer.status not in (200, 402):
            raise ApiError(answer.status, "The page's form was refused.")
        return answer.status == 200


_SAFE: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


def _chosen(record: SessionRecord) -> bool:
    return record.session.locale not in (None, "auto")


def _targets(session: CheckoutSession) -> str:
    return _targets_of(session.success_url)


def _targets_of(url: str | None) -> str:
    """The origin the form's answer may lead to: browsers hold the redirect after a form to the same list."""
    if url is None:
        return ""
    parts = urlsplit(url.replace("{CHECKOUT_SESSION_ID}", "id"))
    # Only what cannot end the directive or add a word to it.
    netloc = parts.netloc.rpartition("@")[2]
    plain = netloc.isascii() and all(sign.isalnum() or sign in "-.:[]" for sign in netloc)
    return f" {parts.scheme}://{netloc}" if plain and parts.scheme in ("http", "https") else ""


def _shown(status: int, page: bytes, form_targets: str = "") -> Shown:
    policy = (
        "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self'{form_targets}"
    )
    kind = (b"content-type", b"text/html; charset=utf-8")
    return Shown(status, page, (kind, (b"content-security-policy", policy.encode()), *_SAFE))


def _sent_on(url: str) -> Shown:
    return Shown(303, b"", ((b"location", url.encode("ascii", "ignore")), *_SAFE))
