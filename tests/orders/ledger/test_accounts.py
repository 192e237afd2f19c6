"""Only our own accounts have names, and no name can carry a person in it."""

from typing import Any

import pytest

from orders.ledger import accounts


def test_accounts_are_spelt_in_one_place() -> None:
    assert accounts.farmer("frm_1") == "farmer/frm_1"
    assert accounts.beneficiary("ben-2") == "beneficiary/ben-2"
    assert accounts.parse("farmer/frm_1") == ("farmer", "frm_1")
    assert accounts.parse("beneficiary/ben-2") == ("beneficiary", "ben-2")
    assert accounts.parse(accounts.STRIPE_CLEARING) == ("stripe", "clearing")
    assert accounts.parse(accounts.STRIPE_FEES) == ("stripe", "fees")
    assert accounts.parse(accounts.PLATFORM_FEES) == ("platform", "fees")


def test_whose_money_it_is() -> None:
    names = [accounts.farmer("a"), accounts.beneficiary("a"), accounts.STRIPE_CLEARING]
    assert [accounts.is_farmer(name) for name in names] == [True, False, False]
    assert [accounts.is_beneficiary(name) for name in names] == [False, True, False]


@pytest.mark.parametrize(
    "owner", ["", "a/b", "li@example.org", "李", "a b", "a\n", "a:b", "x" * 65, None, 7, b"a"]
)
def test_an_owner_is_a_public_id(owner: Any) -> None:
    for name in (accounts.farmer, accounts.beneficiary):
        with pytest.raises(accounts.AccountError):
            name(owner)
    with pytest.raises(accounts.AccountError):
        accounts.parse(f"farmer/{owner}" if isinstance(owner, str) else owner)


@pytest.mark.parametrize(
    "account", ["", "farmer", "stripe", "stripe/", "stripe/a", "platform/x", "shopper/a", "/a"]
)
def test_other_names_are_no_accounts(account: str) -> None:
    with pytest.raises(accounts.AccountError):
        accounts.parse(account)
