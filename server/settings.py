"""Every setting of a deployment, read once from the environment; nothing below the roof reads settings.

With none of them set everything starts by itself on this machine, with play money.
"""

import hashlib
import hmac
import ipaddress
import os
import secrets
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orders.mail.smtp import SmtpRoute, read_route
from stream_events.links import Links

SANDBOX_SECRET_KEY = "sk_test_sandbox"  # noqa: S105 - the local sandbox takes any test key
SANDBOX_PUBLISHABLE_KEY = "pk_test_sandbox"
STRIPE_JS_URL = "https://js.stripe.com/v3/"
STRIPE_ORIGINS = (
    "https://js.stripe.com",
    "https://api.stripe.com",
    "https://hooks.stripe.com",
    "https://m.stripe.network",
)


def _require_networks(addresses: str) -> None:
    """Refuse proxies that are no addresses, and ``*``: whoever is everybody's proxy lets each say who they are."""
    for part in filter(None, addresses.split(",")):
        try:
            network = ipaddress.ip_network(part.strip())
        except ValueError:
            network = None
        if network is None or network.prefixlen == 0:
            raise ValueError("STREAM_EVENTS_TRUSTED_PROXIES has addresses or networks, not all")


class Settings(BaseSettings):
    """The settings. Names in the environment are ``STREAM_EVENTS_`` and the field's name in capitals.

    ``DATABASE_URL``, ``REDIS_URL`` and ``STRIPE_…`` go by the names the world knows them under.
    """

    # What was given stays out of error texts: it may hold a password.
    model_config = SettingsConfigDict(
        env_prefix="STREAM_EVENTS_", extra="ignore", frozen=True, hide_input_in_errors=True
    )

    data_dir: Path = Field(
        Path(".stream-events"), description="folder of the engines that come along"
    )
    database_url: str | None = Field(
        None,
        validation_alias="DATABASE_URL",
        description="postgresql://…; none: our own PostgreSQL",
    )
    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="redis://… or unix://…; none: our own Valkey",
    )
    stripe_secret_key: str | None = Field(
        None,
        validation_alias="STRIPE_SECRET_KEY",
        description="none: the local sandbox, play money",
    )
    stripe_publishable_key: str | None = Field(
        None, validation_alias="STRIPE_PUBLISHABLE_KEY", description="goes with the secret key"
    )
    stripe_webhook_secrets: str = Field(
        "",
        validation_alias="STRIPE_WEBHOOK_SECRETS",
        description="whsec_…, several by comma to roll",
    )
    secret_key: str | None = Field(
        None,
        description="64 hex digits that sign tokens; none: made once and kept in the data folder",
    )
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="HTTP port")
    gateway_port: int = Field(8001, ge=0, le=65535, description="websocket port")
    sandbox_port: int = Field(
        8002, ge=0, le=65535, description="port of the local Stripe, on loopback"
    )
    public_url: str | None = Field(None, description="address shoppers use; none: http://host:port")
    public_gateway_url: str | None = Field(
        None, description="address viewers use; none: ws://host:gateway_port"
    )
    trusted_proxies: str = Field(
        "", description="addresses, by comma, whose X-Forwarded-For is believed"
    )
    api_processes: int = Field(1, ge=1, le=64, description="HTTP processes that share the port")
    pay_rate_per_s: int = Field(20, ge=1, le=1000, description="turns to pay a second")
    pay_window_s: int = Field(
        600, ge=10, le=86_400, description="time to pay once it is one's turn"
    )
    sandbox_rate_per_s: int = Field(
        25,
        ge=0,
        le=10_000,
        description="calls a second the sandbox takes per endpoint; 0: no limit",
    )
    reconcile_s: int = Field(60, ge=1, le=3600, description="seconds between reconciler rounds")
    shoppers_per_minute: int = Field(
        60, ge=0, description="new shopper tokens a minute for one address; 0: no limit"
    )
    orders_per_second_per_shopper: int = Field(
        10, ge=0, description="order attempts a second for one shopper; 0: no limit"
    )
    smtp_url: str | None = Field(
        None,
        repr=False,
        description="smtp://user:password@host:587 or smtps://…; none: the mailbox of test mode",
    )
    mail_from: str = Field("", description="sender of order mail; goes with the SMTP address")
    mails_per_second: int = Field(5, ge=1, le=100, description="mails sent a second, at most")
    retention_days: int = Field(
        90, ge=1, le=3650, description="days after delivery until names and addresses are erased"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="what is logged"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        """Refuse what cannot be meant: a Stripe key without what goes with it, a short signing key."""
        if self.stripe_secret_key and not (
            self.stripe_publishable_key and self.stripe_webhook_secrets
        ):
            raise ValueError(
                "STRIPE_SECRET_KEY needs STRIPE_PUBLISHABLE_KEY and STRIPE_WEBHOOK_SECRETS beside it"
            )
        if self.stripe_secret_key and self.stripe_publishable_key:
            modes = {
                key.split("_")[1] for key in (self.stripe_secret_key, self.stripe_publishable_key)
            }
            if len(modes) != 1:
                raise ValueError("the Stripe keys are of different modes, test and live")
        if (
            self.secret_key is not None
            and len(bytes.fromhex(self.secret_key)) < hashlib.sha256().digest_size
        ):
            raise ValueError("STREAM_EVENTS_SECRET_KEY has at least 64 hex digits")
        self.smtp_route()
        _require_networks(self.trusted_proxies)
        return self

    @property
    def sandboxed(self) -> bool:
        """Whether payments go to our own sandbox."""
        return self.stripe_secret_key is None

    @property
    def mode(self) -> Literal["sandbox", "live"]:
        """The mode of campaigns this deployment sells for: test keys of Stripe's are play money too."""
        live = self.stripe_secret_key is not None and "_live_" in self.stripe_secret_key
        return "live" if live else "sandbox"

    @property
    def own_url(self) -> str:
        """Where this server answers on this machine."""
        return f"http://{self.host}:{self.port}"

    @property
    def sandbox_url(self) -> str:
        """Where the sandbox answers; never beyond this machine."""
        return f"http://127.0.0.1:{self.sandbox_port}"

    def smtp_route(self) -> SmtpRoute | None:
        """Return the way out for mail, if there is one; raise ``ValueError`` for one that cannot be meant."""
        return read_route(self.smtp_url, self.mail_from) if self.smtp_url else None

    def links(self) -> Links:
        """Return the addresses that pages and answers hand out."""
        gateway_url = self.public_gateway_url or f"ws://{self.host}:{self.gateway_port}"
        if self.sandboxed:
            return Links(
                public_url=self.public_url or self.own_url,
                gateway_url=gateway_url,
                stripe_publishable_key=SANDBOX_PUBLISHABLE_KEY,
                stripe_js_url=f"{self.sandbox_url}/sandbox/stripe.js",
                stripe_origins=(self.sandbox_url,),
                mode="sandbox",
            )
        return Links(
            public_url=self.public_url or self.own_url,
            gateway_url=gateway_url,
            stripe_publishable_key=self.stripe_publishable_key or "",
            stripe_js_url=STRIPE_JS_URL,
            stripe_origins=STRIPE_ORIGINS,
            mode=self.mode,
        )

    def signing_secret(self) -> bytes:
        """Return the secret that signs tokens: the one given, or one kept in the data folder."""
        if self.secret_key is not None:
            return bytes.fromhex(self.secret_key)
        path = self.data_dir / "secret.key"
        try:
            # O_EXCL, so that of two processes that start at once one makes it and the other reads it.
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            return bytes.fromhex(path.read_text("ascii"))
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32))
        return bytes.fromhex(path.read_text("ascii"))

    def webhook_secrets(self) -> tuple[str, ...]:
        """Return the secrets that webhooks may be signed with; the sandbox's is made of the signing secret."""
        if not self.sandboxed:
            return tuple(
                part.strip() for part in self.stripe_webhook_secrets.split(",") if part.strip()
            )
        return (
            "whsec_" + hmac.new(self.signing_secret(), b"sandbox webhook", "sha256").hexdigest(),
        )

    def resolved_environment(self) -> dict[str, str]:
        """Return the environment that gives a child process exactly these settings."""
        environment = dict(os.environ)
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            key = str(field.validation_alias or f"STREAM_EVENTS_{name.upper()}")
            environment.pop(key, None)
            if value is not None:
                environment[key] = str(value)
        return environment
