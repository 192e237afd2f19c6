"""The names of the ledger's accounts, so that no two modules spell one differently.

Only these names exist, and they hold nothing but public identifiers: an account name stands in the published
leaves for ever and must never carry a person's name or address.
"""

import re
from functools import lru_cache
from typing import Final

STRIPE_CLEARING: Final = "stripe/clearing"
STRIPE_FEES: Final = "stripe/fees"
PLATFORM_FEES: Final = "platform/fees"
PLATFORM_SHIPPING: Final = "platform/shipping"  # What shoppers paid for the carrier.
PLATFORM_PLEDGES: Final = "platform/pledges"  # What we promised of our own.
DUE_BACK: Final = "platform/due_back"  # Money that sold nothing and is on its way back.
BANK_CLEARING: Final = "bank/clearing"  # Money that moved outside Stripe.

_FARMER: Final = "farmer"
_BENEFICIARY: Final = "beneficiary"
_SPONSOR: Final = "sponsor"
_PLEDGE: Final = "pledge"
_FIXED: Final = frozenset(
    {
        STRIPE_CLEARING,
        STRIPE_FEES,
        PLATFORM_FEES,
        PLATFORM_SHIPPING,
        PLATFORM_PLEDGES,
        DUE_BACK,
        BANK_CLEARING,
    }
)
_OWNED: Final = frozenset({_FARMER, _BENEFICIARY, _SPONSOR, _PLEDGE})
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class AccountError(ValueError):
    """A name that is no account of ours."""


def _is_id(value: object) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _owned(kind: str, owner_id: str) -> str:
    if not _is_id(owner_id):
        raise AccountError(f"{owner_id!r} cannot name the owner of a {kind} account.")
    return f"{kind}/{owner_id}"


def farmer(farmer_id: str) -> str:
    """Return the account of what a farmer has earned with us."""
    return _owned(_FARMER, farmer_id)


def beneficiary(beneficiary_id: str) -> str:
    """Return the account of what has been raised for a beneficiary."""
    return _owned(_BENEFICIARY, beneficiary_id)


def sponsor(match_id: str) -> str:
    """Return the account of what a sponsor owes for a match."""
    return _owned(_SPONSOR, match_id)


def pledge(pledge_id: str) -> str:
    """Return the account of what we owe on a standing pledge."""
    return _owned(_PLEDGE, pledge_id)


def parse(account: str) -> tuple[str, str]:
    """Return an account's kind and what follows: ``("farmer", "frm_1")``, ``("stripe", "fees")``; else raise."""
    if not isinstance(account, str):
        raise AccountError(f"{account!r} is no account.")
    return _parse(account)


@lru_cache(maxsize=4_096)
def _parse(account: str) -> tuple[str, str]:
    # A sale's entries name the same few accounts thousands of times.
    kind, _, rest = account.partition("/")
    if account in _FIXED or (kind in _OWNED and _is_id(rest)):
        return kind, rest
    raise AccountError(f"{account!r} is no account.")


def is_beneficiary(account: str) -> bool:
    """Return whether credits to this account count as raised."""
    return parse(account)[0] == _BENEFICIARY


def is_farmer(account: str) -> bool:
    """Return whether this account is a farmer's income."""
    return parse(account)[0] == _FARMER
