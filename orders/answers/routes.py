"""Answers over HTTP: the trial balance and statements of the books, and the life of an order.

What a campaign raised and what a cause received is everybody's to check; what a farmer earns or a host sold is
theirs alone, beside the operator's.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import StreamingResponse

from orders.answers import csv_text
from orders.answers.explain import explain
from orders.answers.schemas import (
    ExplanationOut,
    PartyKind,
    SeqQuery,
    StatementOut,
    TrialBalanceOut,
)
from orders.answers.statement_rows import find_party
from orders.answers.statements import open_window, read_statement, statement_csv, summarise
from orders.answers.trial_balance import balance_csv, read_balance, stand
from orders.answers.words import Lang
from orders.schemas import OrderPath
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.paging import Page, Paged
from stream_events.requests import database_of
from stream_events.schemas import (
    BeneficiaryPath,
    CampaignPath,
    FarmerPath,
    HostPath,
    Instant,
    id_pattern,
)

router: Final = APIRouter(prefix="/v1", tags=["answers"])

Anybody = Annotated[Caller, Depends(allow(Role.PUBLIC))]
OperatorOrFarmer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.FARMER))]
OperatorOrHost = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]

CampaignQuery = Annotated[str, Query(pattern=id_pattern("cmp"), description="Whose books.")]
Format = Annotated[Literal["json", "csv"] | None, Query(description="Wins over the Accept header.")]
LangQuery = Annotated[Lang, Query(description="The language of plain words.")]

# Changes when the answer for the same number would be other bytes.
_SHAPE: Final = "1"
_CSV: Final[dict[int | str, dict[str, Any]]] = {
    200: {"content": {"text/csv": {"schema": {"type": "string"}}}}
}


@router.get(
    "/audit/trial-balance",
    response_model=TrialBalanceOut,
    responses={
        304: {"description": "You have it already: its ETag is the books' number."},
        **_CSV,
        **problems(401, 404, 422, 503),
    },
)
async def get_trial_balance(
    request: Request,
    response: Response,
    _caller: Anybody,
    campaign_id: CampaignQuery,
    at: Annotated[
        Instant | None,
        Query(description="As it was sealed at this instant, that millisecond included."),
    ] = None,
    seq: SeqQuery = None,
    format: Format = None,  # noqa: A002 - what it is called on the wire.
) -> Response | TrialBalanceOut:
    """Add up every account of a campaign at an instant, at a number, or now; and derive the tally from the entries."""
    as_csv = csv_text.wants_csv(format, request.headers.get("accept"))
    async with database_of(request).begin() as sql:
        standpoint = await stand(sql, campaign_id, at=at, seq=seq)
        etag = f'"{_SHAPE}.{campaign_id}.{standpoint.seq}.{"csv" if as_csv else "json"}"'
        headers = {
            "etag": etag,
            "vary": "accept",
            # The answer for a number stays; the newest number does not.
            "cache-control": "public, no-cache" if seq is None else "public, max-age=3600",
        }
        if _has(request.headers.get("if-none-match"), etag):
            return Response(status_code=304, headers=headers)
        balance = await read_balance(sql, standpoint)
    if as_csv:
        return Response(balance_csv(balance), headers=headers, media_type=csv_text.MEDIA_TYPE)
    response.headers.update(headers)
    return balance


def _has(if_none_match: str | None, etag: str) -> bool:
    """Whether the caller has this answer; compared weakly, as RFC 9110 wants it of GET."""
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    return etag in known or known == ["*"]


class StatementQuery:
    """What of a statement is asked for, and how it is to be written."""

    def __init__(
        self,
        request: Request,
        page: Paged,
        from_at: Annotated[
            Instant | None, Query(alias="from", description="What was sealed from this instant on.")
        ] = None,
        to_at: Annotated[
            Instant | None, Query(alias="to", description="What was sealed before this instant.")
        ] = None,
        format: Format = None,  # noqa: A002 - what it is called on the wire.
        lang: LangQuery = "en",
        tz: Annotated[
            str, Query(max_length=64, description="IANA name of the zone of CSV's local time.")
        ] = "UTC",
    ) -> None:
        self.as_csv = csv_text.wants_csv(format, request.headers.get("accept"))
        self.page: Page = page
        self.from_at: datetime | None = from_at
        self.to_at: datetime | None = to_at
        self.lang: Lang = lang
        self.zone = read_zone(tz)


Asked = Annotated[StatementQuery, Depends()]
_STATEMENT: Final[dict[str, Any]] = {
    "response_model": StatementOut,
    "responses": {**_CSV, **problems(401, 403, 404, 422, 503)},
}
_PUBLIC_STATEMENT: Final[dict[str, Any]] = {
    "response_model": StatementOut,
    "responses": {**_CSV, **problems(401, 404, 422, 503)},
}


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone by its IANA name; raises ``Problem`` 422 for any other text."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Problem(422, "unknown_zone", "There is no such time zone.") from None


@router.get("/statements/beneficiary/{beneficiary_id}", **_PUBLIC_STATEMENT)
async def get_beneficiary_statement(
    request: Request,
    _caller: Anybody,
    beneficiary_id: BeneficiaryPath,
    campaign_id: CampaignQuery,
    asked: Asked,
) -> Response | StatementOut:
    """Read what a beneficiary was credited and paid, entry by entry. Public."""
    return await _statement(request, "beneficiary", beneficiary_id, campaign_id, asked)


@router.get("/statements/farmer/{farmer_id}", **_STATEMENT)
async def get_farmer_statement(
    request: Request,
    caller: OperatorOrFarmer,
    farmer_id: FarmerPath,
    campaign_id: CampaignQuery,
    asked: Asked,
) -> Response | StatementOut:
    """Read what a farmer earned and was paid, entry by entry; farmers read their own."""
    if caller.role is Role.FARMER and caller.farmer_id != farmer_id:
        raise not_found("farmer")
    return await _statement(request, "farmer", farmer_id, campaign_id, asked)


@router.get("/statements/host/{host_id}", **_STATEMENT)
async def get_host_statement(
    request: Request,
    caller: OperatorOrHost,
    host_id: HostPath,
    campaign_id: CampaignQuery,
    asked: Asked,
) -> Response | StatementOut:
    """Read what a host's streams sold and raised, entry by entry; hosts read their own."""
    if caller.role is Role.HOST and caller.host_id != host_id:
        raise not_found("host")
    return await _statement(request, "host", host_id, campaign_id, asked)


@router.get("/statements/campaign/{campaign_id}", **_PUBLIC_STATEMENT)
async def get_campaign_statement(
    request: Request, _caller: Anybody, campaign_id: CampaignPath, asked: Asked
) -> Response | StatementOut:
    """Read all that a campaign's books hold, entry by entry; its balance is what was raised. Public."""
    return await _statement(request, "campaign", campaign_id, campaign_id, asked)


async def _statement(
    request: Request, kind: PartyKind, party_id: str, campaign_id: str, asked: StatementQuery
) -> Response | StatementOut:
    database = database_of(request)
    async with database.begin() as sql:
        party = await find_party(sql, kind, party_id, campaign_id)
        cursor = None if asked.as_csv else asked.page.after
        window = await open_window(sql, party, asked.from_at, asked.to_at, cursor)
        if not asked.as_csv:
            return await read_statement(sql, party, window, asked.lang, asked.page.limit)
        summary = await summarise(sql, party, window, asked.lang)
    pieces: AsyncIterator[str] = statement_csv(
        database, party, window, summary, asked.lang, asked.zone
    )
    name = f"statement-{kind}-{party_id}-{campaign_id}.csv"
    headers = {"content-disposition": f'attachment; filename="{name}"', "vary": "accept"}
    return StreamingResponse(pieces, headers=headers, media_type=csv_text.MEDIA_TYPE)


@router.get("/orders/{order_id}/explain", responses=problems(401, 403, 404, 422))
async def explain_order(
    request: Request, caller: OperatorOrHost, order_id: OrderPath, lang: LangQuery = "en"
) -> ExplanationOut:
    """Tell the whole life of an order or gift in plain words: holds, attempts, events, entries. No personal data."""
    host_id = caller.host_id if caller.role is Role.HOST else None
    async with database_of(request).begin() as sql:
        found = await explain(sql, order_id, lang, host_id=host_id)
    if found is None:
        raise not_found("order")
    return found
