"""The only module that touches the Stripe SDK, so that its traps are known in one place.

Traps met in SDK 16.1: answers are StripeObjects, which are not mappings and cost 0.6 ms each to build (so calls
go through `raw_request_async`, which gives the JSON); its httpx client blurs "never sent" and "answer lost",
and costs ten times ours; with telemetry on it writes a file in the operator's home. It never retries here:
who retries must first know what the call did.
"""

import re
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

import stripe

from orders.payments.errors import (
    Declined,
    ListedKind,
    ListTruncated,
    PaymentError,
    RateLimited,
    Refused,
    UnknownOutcome,
    Unreachable,
)
from orders.payments.facts import UnreadableSnapshotError, payment_fact
from orders.payments.kept_connections import AnswerLostError, KeptConnections, NotSentError

STRIPE_ORIGIN = "https://api.stripe.com"
CONNECTIONS_MAX = 64
CONNECT_TIMEOUT_S = 3.0
PAGE_SIZE = 100
RETRY_AFTER_MS = 1_000
RETRY_AFTER_MS_MAX = 60_000

Json: TypeAlias = Mapping[str, Any]
T = TypeVar("T")

_KEY = re.compile(r"(?:sk|rk)_(test|live)_[A-Za-z0-9_]+", re.ASCII)


class _Transport(stripe.HTTPClient):
    """Carries the SDK's requests over our own connections, which tell unsent requests from lost answers."""

    name = "kept_connections"

    def __init__(self, origin: str, timeout_s: float, connections_max: int) -> None:
        super().__init__()
        self._origin = origin
        self._connections = KeptConnections(
            origin,
            connections_max=connections_max,
            timeout_s=timeout_s,
            connect_timeout_s=min(CONNECT_TIMEOUT_S, timeout_s),
            tls=ssl.create_default_context(cafile=stripe.ca_bundle_path),
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        if not url.startswith(f"{self._origin}/"):
            raise ValueError("a request that would leave the origin the gateway was built for")
        target = url[len(self._origin) :]
        body = (post_data or "").encode()
        answer = await self._connections.request(method.upper(), target, headers, body)
        return answer.body, answer.status, answer.headers

    async def close_async(self) -> None:
        await self._connections.aclose()


class StripeCalls:
    """One call at a time to Stripe's API, each answered with a fact of ours or with one of our errors.

    `base_url` points at the sandbox; with a live key it is refused, because a live key must be shown to nobody
    but Stripe. Raises ValueError for a key that is none.
    """

    def __init__(
        self,
        secret_key: str,
        base_url: str | None = None,
        timeout_s: float = 20.0,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        key = _KEY.fullmatch(secret_key)
        if key is None:
            raise ValueError(
                "a Stripe secret key starts with sk_test_, rk_test_, sk_live_ or rk_live_"
            )
        self.livemode = key[1] == "live"
        if self.livemode and base_url is not None:
            raise ValueError(
                "a live Stripe key is never sent to another base_url than Stripe's own"
            )
        # Telemetry sends facts about the machine and keeps an id file in the operator's home.
        stripe.enable_telemetry = False
        origin = (base_url or STRIPE_ORIGIN).rstrip("/")
        self._transport = _Transport(origin, timeout_s, connections_max)
        self._client = stripe.StripeClient(
            secret_key,
            base_addresses={"api": origin},
            http_client=self._transport,
            max_network_retries=0,
        )

    async def aclose(self) -> None:
        """Close the kept connections."""
        await self._transport.close_async()

    async def _list(
        self,
        kind: ListedKind,
        params: Mapping[str, Any],
        pages_max: int,
        read: Callable[[Json], T],
    ) -> AsyncIterator[T]:
        def read_page(page: Json) -> tuple[list[T], str | None]:
            facts = [read(found) for found in page["data"]]
            return facts, page["data"][-1]["id"] if facts and page["has_more"] else None

        cursor: dict[str, str] = {}
        for _ in range(pages_max):
            wanted = {**params, **cursor, "limit": PAGE_SIZE}
            facts, last_id = await self._call("get", f"/v1/{kind}", wanted, read_page)
            for fact in facts:
                yield fact
            if last_id is None:
                return
            cursor = {"starting_after": last_id}
        raise ListTruncated(kind)

    async def _post(
        self, path: str, params: Json, idempotency_key: str, read: Callable[[Json], T]
    ) -> T:
        if not idempotency_key:
            # The SDK would make one up, and a repeat would then be a second payment.
            raise ValueError("a call that changes something needs an idempotency key of ours")
        return await self._call("post", path, {**params, "idempotency_key": idempotency_key}, read)

    async def _call(self, method: str, path: str, params: Json, read: Callable[[Json], T]) -> T:
        try:
            answer = await self._client.raw_request_async(method, path, **params)
            return read(cast("Json", answer.data))
        except NotSentError as error:
            raise Unreachable(str(error)) from error
        except AnswerLostError as error:
            raise UnknownOutcome(str(error)) from error
        except stripe.StripeError as error:
            # The SDK's error carries the whole answer, client secret included; it must not reach a log.
            raise _understood(error) from None
        except (
            UnicodeDecodeError,  # the SDK decodes an answer for its log even when it logs nothing
            UnreadableSnapshotError,
            LookupError,
            TypeError,
            AttributeError,
        ) as error:
            # Stripe did it and said so in words we cannot read: that is not a failure of the payment.
            raise UnknownOutcome(f"unreadable answer: {type(error).__name__}") from error


def _understood(error: stripe.StripeError) -> PaymentError:
    """What the SDK's error means to a caller of ours."""
    status = error.http_status or 0
    headers = error.headers or {}
    if isinstance(error, stripe.RateLimitError):
        return RateLimited(_retry_after_ms(headers))
    # 424 is a failure behind Stripe, and 2xx here an answer that could not be read: neither says "not done".
    if status >= 500 or status in (409, 424) or status < 400:
        replayed = str(headers.get("idempotent-replayed", "")).lower() == "true"
        return UnknownOutcome(f"status {status}", key_spent=replayed and status >= 500)
    body = error.json_body if isinstance(error.json_body, Mapping) else {}
    details = body.get("error")
    details = details if isinstance(details, Mapping) else {}
    shown = details.get("payment_intent")
    try:
        fact = payment_fact(shown) if isinstance(shown, Mapping) else None
    except UnreadableSnapshotError:
        return UnknownOutcome(f"status {status} with an unreadable PaymentIntent")
    if status == 402 and fact is not None:
        return Declined(fact)
    code = details.get("code") or details.get("type") or f"http_{status}"
    if status in (401, 403):
        code = "authentication_error"
    return Refused(str(code), error.user_message or "", fact)


def _retry_after_ms(headers: Mapping[str, str]) -> int:
    given = str(headers.get("retry-after", ""))
    if not (given.isascii() and given.isdecimal() and len(given) < 6):
        return RETRY_AFTER_MS
    return min(max(int(given) * 1000, RETRY_AFTER_MS), RETRY_AFTER_MS_MAX)
