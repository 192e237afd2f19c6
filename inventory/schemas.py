"""The shapes of goods on the wire: products, the terms they are offered on, their stock, and the storefront."""

from typing import Annotated, Final, Literal

from fastapi import Path
from pydantic import BaseModel, Field

from inventory.shipping import WEIGHT_G_MAX, ShippingRule
from stream_events.money import AMOUNT_MINOR_MAX
from stream_events.schemas import (
    Answer,
    BeneficiaryId,
    Body,
    FarmerId,
    HostName,
    Instant,
    Moment,
    Name,
    PaymentMethod,
    StreamState,
    id_pattern,
)
from stream_events.split import WHOLE_BP

UNITS_MAX: Final = 10_000_000
PER_SHOPPER_MAX: Final = 10_000
SKU_PATTERN: Final = "^[A-Z0-9][A-Z0-9-]{1,39}$"

Sku = Annotated[str, Field(pattern=SKU_PATTERN, examples=["PEANUT-5KG"])]
SkuPath = Annotated[str, Path(pattern=SKU_PATTERN)]
ProductPath = Annotated[str, Path(pattern=id_pattern("prd"))]
PriceMinor = Annotated[int, Field(ge=1, le=AMOUNT_MINOR_MAX, examples=[2990])]
PartMinor = Annotated[int, Field(ge=0, le=AMOUNT_MINOR_MAX)]
FeePayer = Literal["platform", "farmer", "beneficiary"]
ShareBp = Annotated[int, Field(ge=0, le=WHOLE_BP)]
Units = Annotated[int, Field(ge=1, le=UNITS_MAX, examples=[11_483])]


class NewProduct(Body):
    """A product to be made; its SKU is its code in every stream."""

    farmer_id: FarmerId
    sku: Sku
    name: Annotated[Name, Field(examples=["Peanuts"])]
    name_zh: Annotated[Name | None, Field(examples=["花生"])] = None
    unit: Annotated[Name, Field(examples=["5 kg bag"])]
    unit_zh: Annotated[Name | None, Field(examples=["5公斤袋"])] = None
    weight_g: Annotated[
        int,
        Field(ge=0, le=WEIGHT_G_MAX, description="Of one unit, packed, for shipping by weight."),
    ] = 0


class ProductAnswer(Answer):
    """The thing a farmer makes."""

    id: str
    farmer_id: str
    sku: str
    name: str
    name_zh: str | None
    unit: str
    unit_zh: str | None
    weight_g: int
    created_at: Moment


class SharesBody(Body):
    """What part of a price goes to whom: three shares that sum to 10,000 basis points, and what bounds them.

    The fixed parts of each unit come first, the farmer's and the beneficiary's; the shares divide the rest. What
    the beneficiary would get beyond the cap is the farmer's; what the farmer lacks of the floor comes from the
    beneficiary's part, then from the fees'. "All profit to the beneficiary" is the farmer's cost as
    `farmer_fixed_minor` with a `farmer_bp` of 0.
    """

    farmer_bp: Annotated[ShareBp, Field(examples=[8000])]
    beneficiary_bp: Annotated[ShareBp, Field(examples=[1500])]
    fees_bp: Annotated[ShareBp, Field(examples=[500])]
    beneficiary_fixed_minor: Annotated[
        PartMinor | None, Field(description="Of each unit, before the shares divide the rest.")
    ] = None
    farmer_fixed_minor: Annotated[
        PartMinor | None,
        Field(description="Of each unit, such as its cost, before the shares divide the rest."),
    ] = None
    beneficiary_cap_minor: Annotated[
        PartMinor | None, Field(description="The most that the beneficiary gets of a unit.")
    ] = None
    farmer_floor_minor: Annotated[
        PartMinor | None, Field(description="The least that the farmer gets of a unit.")
    ] = None


class OfferTermsBody(SharesBody):
    """The terms of an offer in the campaign's currency; a change counts for later orders only.

    ``total`` is how many units a new offer begins with. On an existing offer leave it out: units are added with
    ``POST …/stock``, so that nobody who edits a price takes back units that were added meanwhile.
    """

    price_minor: PriceMinor
    per_shopper_max: Annotated[int, Field(ge=1, le=PER_SHOPPER_MAX, examples=[5])]
    beneficiary_id: BeneficiaryId
    fee_payer: Annotated[
        FeePayer, Field(description="Whose part Stripe's fee on this offer is taken from.")
    ] = "platform"
    tax_bp: Annotated[
        ShareBp,
        Field(description="The tax within the price, in basis points of the price without it."),
    ] = 0
    total: Units | None = None
    opens_at: Instant | None = None


class SplitBody(SharesBody):
    """A price and shares to be tried out; nothing is stored."""

    price_minor: PriceMinor
    units: Annotated[int, Field(ge=1, le=PER_SHOPPER_MAX, examples=[2])] = 1


class SplitAnswer(Answer):
    """The parts of an amount in minor units; they sum to it."""

    farmer_minor: int
    beneficiary_minor: int
    fees_minor: int


class SplitPreview(BaseModel):
    """What becomes of a price: the parts of one unit, and of a line of so many units."""

    price_minor: int
    units: int
    amount_minor: int
    one_unit: SplitAnswer
    line: SplitAnswer


class OfferAnswer(BaseModel):
    """A product in a stream on the terms that count for new orders, with its stock."""

    stream_id: str
    sku: str
    product_id: str
    farmer_id: str
    beneficiary_id: str
    price_minor: int
    currency: str
    per_shopper_max: int
    farmer_bp: int
    beneficiary_bp: int
    fees_bp: int
    beneficiary_fixed_minor: int | None
    farmer_fixed_minor: int | None
    beneficiary_cap_minor: int | None
    farmer_floor_minor: int | None
    fee_payer: FeePayer
    tax_bp: int
    one_unit: SplitAnswer
    opens_at: Moment | None
    total: int
    reserved: int
    sold: int


class StockChange(Body):
    """How many units to put on sale, or with a minus to take off it.

    Send ``total_before`` to make the request safe to repeat: a total that has changed meanwhile refuses it.
    """

    add: Annotated[int, Field(ge=-UNITS_MAX, le=UNITS_MAX, examples=[200])]
    total_before: Annotated[int | None, Field(ge=0, le=UNITS_MAX)] = None


class StockAnswer(BaseModel):
    """The units of one offer."""

    sku: str
    total: int
    reserved: int
    sold: int
    left: int


class FarmerCard(BaseModel):
    """Who made it, and where."""

    id: str
    name: str
    name_zh: str | None
    place: str


class CauseCard(BaseModel):
    """Who is helped by it."""

    id: str
    name: str
    name_zh: str | None


class CampaignCard(BaseModel):
    """The campaign it belongs to."""

    id: str
    name: str
    name_zh: str | None


class ShopOffer(BaseModel):
    """A product as a shopper sees it: price, what of it goes to whom, and what is left.

    ``farmer_minor``, ``beneficiary_minor`` and ``fees_minor`` are the parts of one unit and sum to its price.
    ``tax_minor`` is the tax within the price, whoever it is then divided among.
    ``left`` is neither reserved nor sold; with ``left`` 0 and ``reserved`` > 0 units may still come back.
    """

    sku: str
    name: str
    name_zh: str | None
    unit: str
    unit_zh: str | None
    price_minor: int
    farmer_minor: int
    beneficiary_minor: int
    fees_minor: int
    share_text: str
    share_text_zh: str
    tax_bp: int
    tax_minor: int
    weight_g: int
    per_shopper_max: int
    opens_at: Moment | None
    total: int
    reserved: int
    sold: int
    left: int
    stock_band: Literal["plenty", "low", "gone"]
    farmer: FarmerCard
    beneficiary: CauseCard


class ShippingTerms(BaseModel):
    """What sending costs, in figures and in words."""

    rule: ShippingRule
    words: str
    words_zh: str


class GiftTerms(BaseModel):
    """What may be given beside the goods, and to which causes; the first is meant where none is named."""

    min_minor: int
    max_minor: int = Field(description="For all that one payment gives.")
    causes: list[CauseCard]


class MatchCard(Answer):
    """What a sponsor adds at this time, and how much of it is left."""

    id: str
    sponsor: str
    sponsor_zh: str | None
    covers: Literal["gifts", "shares", "all"]
    skus: tuple[str, ...] | None
    ratio_bp: int
    pot_minor: int
    left_minor: int
    per_giver_max_minor: int | None
    starts_at: Moment
    ends_at: Moment | None


class Storefront(BaseModel):
    """A stream as its shop shows it."""

    id: str
    title: str
    title_zh: str | None
    state: StreamState
    opens_at: Moment | None
    live_at: Moment | None
    ended_at: Moment | None
    goal_minor: int
    currency: str
    mode: Literal["sandbox", "live"]
    host: HostName
    campaign: CampaignCard
    seller: str | None
    refund_terms: str | None
    refund_terms_zh: str | None
    payment_methods: list[PaymentMethod]
    shipping: ShippingTerms
    gifts: GiftTerms | None = Field(description="Null where the campaign takes no gifts.")
    matches: list[MatchCard]
    offers: list[ShopOffer]
