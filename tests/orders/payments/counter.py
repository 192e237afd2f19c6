"""A shop counter for payment tests: puts placed orders straight into SQL and knows how to look at what became of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text

from orders.payments.checkout_declines import CheckoutDeclines
from orders.payments.pace import Pace
from orders.payments.pacer import offer_once
from orders.payments.pay import Payer, _open_try, pay
from orders.payments.payable import read_payable
from orders.payments.stripe_gateway import StripeGateway
from orders.payments.webhooks import Inbox
from orders.schemas import PayOut
from orders.settlement_loop import settle_events_once
from orders.tables import PayAttempt
from stream_events.database import Database
from stream_events.ids import new_id
from tests.factories import Sale
from tests.orders.payments.sandbox_process import SECRET_KEY, RunningSandbox

PLACE = (
    """INSERT INTO orders (id, stream_id, shopper_id, state, total_minor, currency, place, placed_at)
       VALUES (:id, :stream_id, :shopper_id, 'RESERVED', :amount_minor, 'CNY', 1, now())""",
    """INSERT INTO order_lines (order_id, stock_id, terms_id, quantity, amount_minor)
       VALUES (:id, :stock_id, :terms_id, :quantity, :amount_minor)""",
    """INSERT INTO stock_moves (source_id, stock_id, kind, stream_id, quantity, shopper_id)
       VALUES (:id, :stock_id, 'R', :stream_id, :quantity, :shopper_id)""",
    """INSERT INTO shopper_units (stock_id, shopper_id, units, limit_max)
       VALUES (:stock_id, :shopper_id, :quantity, 1000)
       ON CONFLICT (stock_id, shopper_id) DO UPDATE SET units = shopper_units.units + :quantity""",
    "UPDATE stock SET reserved = reserved + :quantity WHERE id = :stock_id",
)


@dataclass
class Counter:
    """Everything a payment needs, and short questions about its outcome."""

    database: Database
    sandbox: RunningSandbox
    sale: Sale
    pace: Pace
    inbox: Inbox
    placed: list[str] = field(default_factory=list)
    declines: CheckoutDeclines | None = None

    async def place(self, quantity: int = 1) -> str:
        order_id = new_id("ord")
        values = {
            "id": order_id,
            "stream_id": self.sale.stream_id,
            "shopper_id": self.sale.shopper_id,
            "stock_id": self.sale.stock_id,
            "terms_id": self.sale.terms_id,
            "quantity": quantity,
            "amount_minor": quantity * self.sale.price_minor,
        }
        async with self.database.begin() as sql:
            for statement in PLACE:
                given = {name: value for name, value in values.items() if f":{name}" in statement}
                await sql.execute(text(statement), given)
        self.placed.append(order_id)
        return order_id

    async def offered(self, quantity: int = 1, *, window_s: float = 600) -> str:
        """Place an order and give it its turn, whatever the pace."""
        order_id = await self.place(quantity)
        async with self.database.begin() as sql:
            await sql.execute(
                text(
                    "UPDATE orders SET state = 'AWAITING_PAYMENT', state_at = now(),"
                    " pay_by = clock_timestamp() + make_interval(secs => :s) WHERE id = :id"
                ),
                {"id": order_id, "s": window_s},
            )
        return order_id

    async def end_time(self, order_id: str, ago_s: float = 1) -> None:
        """Let the time to pay be over since ``ago_s``."""
        async with self.database.begin() as sql:
            await sql.execute(
                text(
                    "UPDATE orders SET pay_by = clock_timestamp() - make_interval(secs => :s)"
                    " WHERE id = :id"
                ),
                {"id": order_id, "s": ago_s},
            )

    async def pay(self, order_id: str, card: str = "pm_card_visa", token: str = "") -> PayOut:
        token = token or await self.sandbox.token(card)
        payer = Payer(order_id, self.sale.shopper_id, token)
        return await pay(self.database, self.sandbox.gateway, self.pace, payer)

    async def pay_unanswered(self, order_id: str, card: str = "pm_card_visa") -> PayOut:
        """Pay, and hear nothing of what Stripe did about it."""
        token = await self.sandbox.token(card)
        hasty = StripeGateway(SECRET_KEY, self.sandbox.base_url, timeout_s=0.4)
        create = "POST /v1/payment_intents"
        await self.sandbox.faults(next_timeout_after_effect=1, endpoint=create)
        try:
            payer = Payer(order_id, self.sale.shopper_id, token)
            return await pay(self.database, hasty, self.pace, payer)
        finally:
            await hasty.aclose()

    async def open_second_try(self, order_id: str, card: str) -> PayAttempt:
        """Write down that a further card is tried, and die before it is sent."""
        payer = Payer(order_id, self.sale.shopper_id, await self.sandbox.token(card))
        async with self.database.begin() as sql:
            order = await read_payable(sql, order_id)
            assert order is not None
            attempt, before = await _open_try(sql, order, payer)
        assert before is not None
        return attempt

    async def turns(self, turns_max: int = 100) -> int:
        return await offer_once(self.database, self.pace, pay_window_s=600, turns_max=turns_max)

    async def settle_stored(self) -> int:
        """Settle all that is stored: the shared sandbox may tell of more than one batch of other tests' payments."""
        settled = 0
        while done := await settle_events_once(
            self.database, self.sandbox.gateway, declines=self.declines
        ):
            settled += done
        return settled

    async def rows(self, statement: str, **given: Any) -> Sequence[Any]:
        async with self.database.begin() as sql:
            return (await sql.execute(text(statement), given)).all()

    async def one(self, statement: str, **given: Any) -> Any:
        async with self.database.begin() as sql:
            return await sql.scalar(text(statement), given)

    async def state(self, order_id: str) -> str:
        found = await self.one("SELECT state FROM orders WHERE id = :id", id=order_id)
        return str(found)

    async def attempts(self, order_id: str) -> list[tuple[int, str, int]]:
        found = await self.rows(
            "SELECT n, state, tries FROM pay_attempts WHERE order_id = :id ORDER BY n", id=order_id
        )
        return [tuple(row) for row in found]

    async def history(self, order_id: str) -> list[str]:
        found = await self.rows(
            "SELECT to_state FROM order_transitions WHERE order_id = :id ORDER BY id", id=order_id
        )
        return [row.to_state for row in found]

    async def stock(self) -> tuple[int, int]:
        """Reserved and sold units."""
        [row] = await self.rows(
            "SELECT reserved, sold FROM stock WHERE id = :id", id=self.sale.stock_id
        )
        return row.reserved, row.sold

    async def intents(self, order_id: str) -> list[str]:
        """The statuses of every PaymentIntent that Stripe has for an order."""
        listed = (await self.sandbox.ask("GET", "/v1/payment_intents?limit=100")).body["data"]
        return [each["status"] for each in listed if each["metadata"].get("order_id") == order_id]

    async def age(self, order_id: str, seconds: int) -> None:
        """Let an order's attempts be older than they are."""
        async with self.database.begin() as sql:
            await sql.execute(
                text(
                    "UPDATE pay_attempts SET updated_at = updated_at - make_interval(secs => :s),"
                    " created_at = created_at - make_interval(secs => :s) WHERE order_id = :id"
                ),
                {"id": order_id, "s": seconds},
            )
