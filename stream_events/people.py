"""Hosts, farmers and beneficiaries over HTTP: operators make them, and each may see at most its own beside staff."""

from typing import Annotated, Final, TypeVar

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select

from stream_events.access import Caller, Role, allow
from stream_events.database import Base
from stream_events.errors import not_found, problems
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.schemas import (
    BeneficiaryAnswer,
    BeneficiaryPath,
    FarmerAnswer,
    FarmerPath,
    HostAnswer,
    HostPath,
    NewBeneficiary,
    NewFarmer,
    NewHost,
)
from stream_events.tables import Beneficiary, Farmer, Host

router: Final = APIRouter(tags=["people"])

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]
StaffOrFarmer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.FARMER))]

CREATE_REFUSALS: Final = problems(400, 401, 403, 413, 422)
LIST_REFUSALS: Final = problems(401, 403, 422)
GET_REFUSALS: Final = problems(401, 403, 404, 422)

Row = TypeVar("Row", bound=Base)


async def _store(request: Request, row: Base) -> None:
    async with database_of(request).begin() as sql:
        sql.add(row)


async def _find(request: Request, table: type[Row], row_id: str) -> Row:
    async with database_of(request).begin() as sql:
        row = await sql.get(table, row_id)
    if row is None:
        raise not_found(table.__name__.lower())
    return row


@router.post("/hosts", status_code=201, responses=CREATE_REFUSALS)
async def create_host(request: Request, _caller: Operator, body: NewHost) -> HostAnswer:
    """Make a host; invite them with ``POST /v1/principals``."""
    host = Host(id=new_id("hst"), **body.model_dump())
    await _store(request, host)
    return HostAnswer.model_validate(host)


@router.get("/hosts", responses=LIST_REFUSALS)
async def list_hosts(request: Request, _caller: Operator, page: Paged) -> Listing[HostAnswer]:
    """List hosts, newest first."""
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, select(Host), Host.id, page)
    return Listing(items=[HostAnswer.model_validate(row) for row in rows], next=following)


@router.get("/hosts/{host_id}", responses=GET_REFUSALS)
async def get_host(request: Request, caller: Staff, host_id: HostPath) -> HostAnswer:
    """Read one host; hosts read themselves."""
    if caller.role is Role.HOST and caller.host_id != host_id:
        raise not_found("host")
    return HostAnswer.model_validate(await _find(request, Host, host_id))


@router.post("/farmers", status_code=201, responses=CREATE_REFUSALS)
async def create_farmer(request: Request, _caller: Operator, body: NewFarmer) -> FarmerAnswer:
    """Make a farmer; invite them with ``POST /v1/principals``."""
    farmer = Farmer(id=new_id("frm"), **body.model_dump())
    await _store(request, farmer)
    return FarmerAnswer.model_validate(farmer)


@router.get("/farmers", responses=LIST_REFUSALS)
async def list_farmers(request: Request, _caller: Staff, page: Paged) -> Listing[FarmerAnswer]:
    """List farmers, newest first."""
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, select(Farmer), Farmer.id, page)
    return Listing(items=[FarmerAnswer.model_validate(row) for row in rows], next=following)


@router.get("/farmers/{farmer_id}", responses=GET_REFUSALS)
async def get_farmer(
    request: Request, caller: StaffOrFarmer, farmer_id: FarmerPath
) -> FarmerAnswer:
    """Read one farmer; farmers read themselves."""
    if caller.role is Role.FARMER and caller.farmer_id != farmer_id:
        raise not_found("farmer")
    return FarmerAnswer.model_validate(await _find(request, Farmer, farmer_id))


@router.post("/beneficiaries", status_code=201, responses=CREATE_REFUSALS)
async def create_beneficiary(
    request: Request, _caller: Operator, body: NewBeneficiary
) -> BeneficiaryAnswer:
    """Make a beneficiary."""
    beneficiary = Beneficiary(id=new_id("ben"), **body.model_dump())
    await _store(request, beneficiary)
    return BeneficiaryAnswer.model_validate(beneficiary)


@router.get("/beneficiaries", responses=LIST_REFUSALS)
async def list_beneficiaries(
    request: Request, _caller: Staff, page: Paged
) -> Listing[BeneficiaryAnswer]:
    """List beneficiaries, newest first."""
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, select(Beneficiary), Beneficiary.id, page)
    return Listing(items=[BeneficiaryAnswer.model_validate(row) for row in rows], next=following)


@router.get("/beneficiaries/{beneficiary_id}", responses=GET_REFUSALS)
async def get_beneficiary(
    request: Request, _caller: Staff, beneficiary_id: BeneficiaryPath
) -> BeneficiaryAnswer:
    """Read one beneficiary."""
    return BeneficiaryAnswer.model_validate(await _find(request, Beneficiary, beneficiary_id))
