"""The tax that is in a price: shown to the shopper, never added on top."""

from typing import Final

WHOLE_BP: Final = 10_000


def tax_part(amount_minor: int, tax_bp: int) -> int:
    """Return the tax within an amount, rounded half up; ``tax_bp`` is of the amount without the tax."""
    gross_bp = WHOLE_BP + tax_bp
    return (2 * amount_minor * tax_bp + gross_bp) // (2 * gross_bp)
