"""What a host asks before offering something: who would get how much of it, to the last minor unit."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends

from inventory.schemas import SplitAnswer, SplitBody, SplitPreview
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, problems
from stream_events.split import ShareRule, SplitError, one_unit, split

router: Final = APIRouter(prefix="/splits", tags=["offers"])

Staff = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST))]


@router.post("/preview", responses=problems(400, 401, 403, 413, 422))
async def preview_split(_caller: Staff, body: SplitBody) -> SplitPreview:
    """Split a price as an offer on these terms would; nothing is stored."""
    amount_minor = body.price_minor * body.units
    try:
        rule = ShareRule.of(body)
        unit, line = one_unit(body.price_minor, rule), split(amount_minor, body.units, rule)
    except SplitError as error:
        raise Problem(422, error.code, str(error)) from None
    return SplitPreview(
        price_minor=body.price_minor,
        units=body.units,
        amount_minor=amount_minor,
        one_unit=SplitAnswer.model_validate(unit),
        line=SplitAnswer.model_validate(line),
    )
