"""Settings: each is in the README, and what cannot be meant is refused at the start."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from server.settings import Settings

README = (Path(__file__).parent.parent.parent / "README.md").read_text("utf-8")


def test_every_setting_is_in_the_readme() -> None:
    for name, field in Settings.model_fields.items():
        variable = str(field.validation_alias or f"STREAM_EVENTS_{name.upper()}")
        assert f"| `{variable}` |" in README, variable
        assert field.description, name


@pytest.mark.parametrize(
    "given",
    [
        {"STRIPE_SECRET_KEY": "sk_test_x"},
        {
            "STRIPE_SECRET_KEY": "sk_live_x",
            "STRIPE_PUBLISHABLE_KEY": "pk_test_x",
            "STRIPE_WEBHOOK_SECRETS": "whsec_x",
        },
        {"STREAM_EVENTS_SECRET_KEY": "abcd"},
        {"STREAM_EVENTS_PORT": "70000"},
        {"STREAM_EVENTS_TRUSTED_PROXIES": "*"},
        {"STREAM_EVENTS_TRUSTED_PROXIES": "10.0.0.1,::/0"},
        {"STREAM_EVENTS_TRUSTED_PROXIES": "proxy.internal"},
    ],
)
def test_what_cannot_be_meant_is_refused(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        Settings()


def test_the_signing_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert settings.signing_secret() == Settings(data_dir=tmp_path).signing_secret()
    assert (tmp_path / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_child_gets_exactly_these_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Settings(data_dir=tmp_path, port=4242, pay_window_s=33)
    for name, value in given.resolved_environment().items():
        if name.startswith(("STREAM_EVENTS_", "STRIPE_", "DATABASE_URL", "REDIS_URL")):
            monkeypatch.setenv(name, value)
    assert Settings() == given


def test_proxies_are_named_by_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_EVENTS_TRUSTED_PROXIES", "10.0.0.1, 192.168.0.0/24,::1")
    assert Settings().trusted_proxies.startswith("10.0.0.1")
