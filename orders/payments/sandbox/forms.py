"""Reads the form encoding the Stripe SDK speaks (`a[b]=1&c[]=2`) and refuses what an endpoint does not know.

Stripe answers an unknown parameter with 400 instead of ignoring it; a double that ignores it would let a
misspelt safety parameter through every test.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, Union
from urllib.parse import parse_qsl, urlsplit

from orders.payments.sandbox.errors import ApiError, invalid, missing, unknown

FIELDS_MAX = 200
DEPTH_MAX = 5
URL_CHARS_MAX = 5_000

Param: TypeAlias = str | list["Param"] | dict[str, "Param"]
Params: TypeAlias = dict[str, Param]
Kind: TypeAlias = Literal["text", "list", "map"]
Spec: TypeAlias = Mapping[str, Union[Kind, "Spec"]]


def decode_form(raw: bytes) -> Params:
    """Nested parameters of one body or query string; a repeated plain name keeps its last value."""
    try:
        pairs = parse_qsl(
            raw.decode("utf-8"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX
        )
    except ValueError as error:  # UnicodeDecodeError is one of them
        raise ApiError(400, "Invalid form encoding.") from error
    params: Params = {}
    for name, value in pairs:
        if "[" in name:
            _place(params, _segments(name), value, name)
        else:
            params[name] = value
    return params


def _segments(name: str) -> list[str]:
    head, _, rest = name.partition("[")
    if not head or not rest.endswith("]"):
        raise invalid(name[:80], f"Invalid parameter name: {name[:80]}")
    segments = [head, *rest[:-1].split("][")]
    if len(segments) > DEPTH_MAX or any("[" in part or "]" in part for part in segments):
        raise invalid(name[:80], f"Invalid parameter name: {name[:80]}")
    return segments


def _place(params: Params, segments: list[str], value: str, name: str) -> None:
    here = params
    for segment in segments[:-1] if not _ends_in_list(segments) else segments[:-2]:
        inner = here.setdefault(segment, {})
        if not isinstance(inner, dict):
            raise invalid(name, f"Invalid parameter: {name} is given in two shapes")
        here = inner
    if not _ends_in_list(segments):
        here[segments[-1]] = value
        return
    items = here.setdefault(segments[-2], [])
    if not isinstance(items, list):
        raise invalid(name, f"Invalid parameter: {name} is given in two shapes")
    items.append(value)


def _ends_in_list(segments: list[str]) -> bool:
    return len(segments) > 1 and (segments[-1] == "" or segments[-1].isdecimal())


def refuse_unknown(params: Params, spec: Spec, prefix: str = "") -> None:
    """Raise Stripe's 400 for any parameter, at any depth, that `spec` does not name or that has another shape."""
    for name, value in params.items():
        full = f"{prefix}[{name}]" if prefix else name
        kind = spec.get(name)
        if kind is None:
            raise unknown(full)
        if isinstance(kind, Mapping):
            if not isinstance(value, dict):
                raise invalid(full, f"Invalid object: {full}")
            refuse_unknown(value, kind, full)
        elif kind == "text" and not isinstance(value, str):
            raise invalid(full, f"Invalid string: {full}")
        elif kind == "list" and not _is_text_list(value):
            raise invalid(full, f"Invalid array: {full}")
        elif kind == "map" and not _is_text_map(value):
            raise invalid(full, f"Invalid hash: {full}")


def _is_text_list(value: Param) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_text_map(value: Param) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def text(params: Params, name: str) -> str | None:
    """A plain value; blank counts as not given, as with Stripe."""
    value = params.get(name)
    return value if isinstance(value, str) and value else None


def required(params: Params, name: str) -> str:
    """A plain value that has to be there. Raises ApiError."""
    value = text(params, name)
    if value is None:
        raise missing(name)
    return value


def boolean(params: Params, name: str, *, default: bool) -> bool:
    """`true` or `false` and nothing like them. Raises ApiError."""
    value = text(params, name)
    if value is None:
        return default
    if value not in ("true", "false"):
        raise invalid(name, f"Invalid boolean: {value[:40]}")
    return value == "true"


def integer(value: str, name: str) -> int:
    """ASCII digits with an optional minus, as Stripe reads them; `int()` alone takes `１２`, `1_0` and ` 1 `."""
    digits = value.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 18):
        raise invalid(name, f"Invalid integer: {value[:40]}", "parameter_invalid_integer")
    return int(value)


def url(params: Params, name: str) -> str | None:
    """Where a browser is to be sent, if given. Raises ApiError for anything but a plain http(s) URL."""
    value = text(params, name)
    if value is None:
        return None
    # Filled in later, and no sign that a URL could hold by itself.
    filled = value.replace("{CHECKOUT_SESSION_ID}", "id")
    try:
        parts = urlsplit(filled)
        right = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        right = False
    plain = value.isascii() and value.isprintable() and " " not in value
    if not (right and plain) or len(value) > URL_CHARS_MAX:
        raise invalid(name, "Not a valid URL", "url_invalid")
    return value


def texts(params: Params, name: str) -> list[str]:
    """A list of plain values, empty if not given."""
    value = params.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def text_map(params: Params, name: str) -> dict[str, str]:
    """A group whose names are the caller's own, such as metadata; empty if not given."""
    value = params.get(name)
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}


def group(params: Params, name: str) -> Params:
    """A nested group of parameters, empty if not given."""
    value = params.get(name)
    return value if isinstance(value, dict) else {}
