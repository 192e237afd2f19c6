"""Products over HTTP: what farmers make, each with one SKU that means the same thing in every stream."""

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from inventory.schemas import NewProduct, ProductAnswer, ProductPath
from inventory.tables import Product
from stream_events.access import Caller, Role, allow
from stream_events.errors import Problem, not_found, problems
from stream_events.ids import new_id
from stream_events.paging import Listing, Paged, read_page
from stream_events.requests import database_of
from stream_events.tables import Farmer

router: Final = APIRouter(prefix="/products", tags=["products"])

Operator = Annotated[Caller, Depends(allow(Role.OPERATOR))]
StaffOrFarmer = Annotated[Caller, Depends(allow(Role.OPERATOR, Role.HOST, Role.FARMER))]


@router.post("", status_code=201, responses=problems(400, 401, 403, 409, 413, 422))
async def create_product(request: Request, _caller: Operator, body: NewProduct) -> ProductAnswer:
    """Make a product of a farmer; a SKU can be taken only once."""
    fields = {"id": new_id("prd"), **body.model_dump()}
    statement = (
        insert(Product).values(**fields).on_conflict_do_nothing(index_elements=[Product.sku])
    )
    async with database_of(request).begin() as sql:
        if await sql.get(Farmer, body.farmer_id) is None:
            raise Problem(422, "unknown_reference", "There is no such farmer.", field="farmer_id")
        product = (await sql.execute(statement.returning(Product))).scalar_one_or_none()
    if product is None:
        raise Problem(409, "sku_taken", "Another product has this SKU.", sku=body.sku)
    return ProductAnswer.model_validate(product)


@router.get("", responses=problems(401, 403, 422))
async def list_products(
    request: Request, caller: StaffOrFarmer, page: Paged
) -> Listing[ProductAnswer]:
    """List products, newest first; farmers see their own."""
    statement = select(Product)
    if caller.role is Role.FARMER:
        statement = statement.where(Product.farmer_id == caller.farmer_id)
    async with database_of(request).begin() as sql:
        rows, following = await read_page(sql, statement, Product.id, page)
    return Listing(items=[ProductAnswer.model_validate(row) for row in rows], next=following)


@router.get("/{product_id}", responses=problems(401, 403, 404, 422))
async def get_product(
    request: Request, caller: StaffOrFarmer, product_id: ProductPath
) -> ProductAnswer:
    """Read one product; farmers read their own."""
    async with database_of(request).begin() as sql:
        product = await sql.get(Product, product_id)
    if product is None or (caller.role is Role.FARMER and product.farmer_id != caller.farmer_id):
        raise not_found("product")
    return ProductAnswer.model_validate(product)
