"""Whom a crowd may visit: never a shop that takes real money, whatever the operator of the crowd meant to do."""

import os
from collections.abc import Mapping

LIVE_MARKS = ("sk_live", "rk_live", "pk_live")


class RealMoney(Exception):  # noqa: N818 - it names what is at stake.
    """The server, or our own environment, is set up for real payments."""


def refuse_live_keys(environment: Mapping[str, str] | None = None) -> None:
    """Raise ``RealMoney`` if any variable of the environment holds a live Stripe key; it is not repeated."""
    for name, text in (os.environ if environment is None else environment).items():
        if any(mark in text for mark in LIVE_MARKS):
            raise RealMoney(f"{name} holds a live Stripe key: no load test runs beside one")


def refuse_live_server(meta: Mapping[str, object]) -> None:
    """Raise ``RealMoney`` if ``GET /v1/meta`` says anything but that the server plays with test money."""
    key = str(meta.get("stripe_publishable_key", ""))
    if meta.get("mode") != "sandbox":
        raise RealMoney("the server's mode is not sandbox: it takes real money")
    if not key.startswith("pk_test"):
        raise RealMoney("the server's publishable key is no test key: it takes real money")
