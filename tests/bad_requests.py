"""Requests that are wrong, made from an application's own description of itself (OpenAPI).

Each parameter, each header and each field of each body is replaced, one at a time, by what broken clients, fuzzers
and thieves send; all else of the request is as good as can be, so that it gets as far in as it can.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

# What a field is replaced by, as it stands in JSON; some of it no JSON library would write.
VALUES: Final = (
    b"null",
    b"true",
    b"-1",
    b"1e309",
    b"-9223372036854775809",
    b"18446744073709551616",
    b"1" * 400,
    b'""',
    b'"\\u0000"',
    b'"a\\u0000b"',
    b'"\\ud800"',
    b'"\xed\xa0\x80"',
    b'"\\u202eevil"',
    b'"' + b"x" * 5_000 + b'"',
    '"１２３"'.encode(),
    b'"0001-01-01T00:00:00+23:59"',
    b'"9999-12-31T23:59:59-23:59"',
    b"[]",
    b"[null]",
    b"{}",
)
JSON: Final = b"application/json"
# Bodies that are wrong whatever the route.
BODIES: Final[Sequence[tuple[bytes, bytes]]] = (
    *(
        (body, JSON)
        for body in (
            b"",
            b"{",
            b"null",
            b"[]",
            b"{}",
            b'{"a":1,}',
            b'{"__proto__":{"x":1}}',
            b'{"\\ud800":1}',
            b'{"\xff":1}',
            b'{"' + b"k" * 9_000 + b'":1}',
            b"\xef\xbb\xbf{}",
            "{}".encode("utf-16"),
            b"[" * 10_000,
            b'{"a":' * 2_000 + b"1" + b"}" * 2_000,
            b'{"a":"' + b"x" * 17_000 + b'"}',
            b'{"a":"' + b"x" * 300_000 + b'"}',
            b"\x1f\x8b\x08\x00\x00\x00",
        )
    ),
    (b"{}", b"text/plain"),
    (b"a=1", b"application/x-www-form-urlencoded"),
    (b"--x\r\n\r\n", b"multipart/form-data; boundary=x"),
    (b"{}", b"application/json; charset=utf-16"),
    (b"{}", b""),
)
# Percent-encoded, as they stand in a path or a query.
TEXTS: Final = (
    "%00",
    "%ED%A0%80",
    "9" * 400,
    "x" * 5_000,
    "%27%20OR%201%3D1--",
    "0001-01-01T00:00:00%2B23:59",
    "9999-12-31T23:59:59-23:59",
)
KEYS: Final = (b"", b"k" * 256, b"\xe9", b"a b", b"\x7f")
CREDENTIALS: Final = (
    b"",
    b"Bearer \xff",
    b"Bearer " + b"a." * 400,
)

# What the one request is called in which nothing is wrong.
GOOD: Final = "nothing"

_HERE: Final = "\u2603here\u2603"
_DEPTH_MAX: Final = 3


class Try(NamedTuple):
    """One request, and in a few words what is wrong with it."""

    what: str
    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Describer:
    """Makes the requests of one route after another. ``ids`` are the things there are, by parameter or field."""

    document: Mapping[str, Any]
    ids: Mapping[str, str]

    def tries(
        self, method: str, path: str, credential: list[tuple[bytes, bytes]], given: Any = None
    ) -> Iterator[Try]:
        """Yield the wrong requests of a route; ``given`` is a good body where the description has none."""
        operation, schema, good = self._read(method, path, given)
        parameters = operation.get("parameters", [])
        body = None if good is None else json.dumps(good).encode()
        headers = [*credential, (b"content-type", JSON), (b"idempotency-key", b"bad-input")]
        target = self._target(path)
        for name in (each["name"] for each in parameters if each["in"] == "path"):
            for text in (*TEXTS, self.ids.get(name, "x")[:4] + "0", "a" * 90):
                yield Try(f"path {name}", method, self._target(path, {name: text}), headers, body)
        for name in (each["name"] for each in parameters if each["in"] == "query"):
            needed = self._needed(parameters, name)
            for text in ("", *TEXTS):
                yield Try(f"query {name}", method, f"{target}?{name}={text}{needed}", headers, body)
        yield Try("query", method, f"{target}?unknown=1&%FF=%00", headers, body)
        keyed = any(each["name"] == "idempotency-key" for each in parameters)
        for key in KEYS if keyed or schema == {"type": "object"} else ():
            spoilt = [*credential, (b"content-type", JSON), (b"idempotency-key", key)]
            yield Try("key", method, target, spoilt, body)
        for value in CREDENTIALS:
            yield Try("credential", method, target, [(b"authorization", value), headers[-2]], body)
        if body is not None:
            yield from self._bodies(method, target, headers, good, schema)

    def good(
        self, method: str, path: str, credential: list[tuple[bytes, bytes]], given: Any = None
    ) -> Try:
        """Return the request of a route in which nothing is wrong."""
        operation, _, good = self._read(method, path, given)
        query = self._needed(operation.get("parameters", []), "")
        headers = [*credential, (b"content-type", JSON), (b"idempotency-key", b"good")]
        body = None if good is None else json.dumps(good).encode()
        return Try(GOOD, method, f"{self._target(path)}?{query}", headers, body)

    def _read(self, method: str, path: str, given: Any) -> tuple[Mapping[str, Any], Any, Any]:
        """Return what is said of a route, the schema of its body, and a body that fits."""
        operation = self.document["paths"][path][method.lower()]
        schema = self._body_schema(operation)
        good = given if given is not None else self._good(schema, "") if schema else None
        return operation, schema, good

    def _bodies(
        self, method: str, target: str, headers: list[tuple[bytes, bytes]], good: Any, schema: Any
    ) -> Iterator[Try]:
        rest = [each for each in headers if each[0] not in (b"content-type", b"idempotency-key")]
        n = 0

        def sent(what: str, body: bytes, content_type: bytes = JSON) -> Try:
            nonlocal n
            n += 1
            key = f"{method}{target}{n}"[-255:].encode()
            return Try(
                what,
                method,
                target,
                [*rest, (b"content-type", content_type), (b"idempotency-key", key)],
                body,
            )

        yield sent(GOOD, json.dumps(good).encode())
        for body, content_type in BODIES:
            yield sent("body", body, content_type)
        for at, part in _places(good):
            name = ".".join(map(str, at))
            known = self._schema_at(schema, at)
            for value in (*VALUES, *(json.dumps(v).encode() for v in self._edges(known))):
                yield sent(f"field {name}", _spliced(good, at, value))
            if at and isinstance(at[-1], str):
                yield sent(f"without {name}", json.dumps(_without(good, at)).encode())
                twice = json.dumps(part).encode() + b"," + json.dumps(at[-1]).encode() + b":1"
                yield sent(f"twice {name}", _spliced(good, at, twice))
            if isinstance(part, dict):
                yield sent(f"more in {name}", _spliced(good, (*at, "price_minor_"), b"1"))

    def _body_schema(self, operation: Mapping[str, Any]) -> Any:
        content = operation.get("requestBody", {}).get("content", {})
        return next(iter(content.values()))["schema"] if content else None

    def _target(self, path: str, instead: Mapping[str, str] | None = None) -> str:
        for name, value in {**self.ids, **(instead or {})}.items():
            path = path.replace("{" + name + "}", value)
        return path

    def _needed(self, parameters: Sequence[Mapping[str, Any]], but: str) -> str:
        return "".join(
            f"&{each['name']}={self.ids.get(each['name'], 'x')}"
            for each in parameters
            if each["in"] == "query" and each.get("required") and each["name"] != but
        )

    def _plain(self, schema: Any) -> Any:
        """Follow references, and of alternatives take the first that is something."""
        while True:
            if "$ref" in schema:
                schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
            elif alternatives := schema.get("anyOf") or schema.get("oneOf"):
                rest = {k: v for k, v in schema.items() if k not in ("anyOf", "oneOf")}
                schema = {
                    **rest,
                    **next(each for each in alternatives if each.get("type") != "null"),
                }
            else:
                return schema

    def _good(self, schema: Any, name: str) -> Any:
        """Return a value that fits a schema, with every field in it; of ids the real ones."""
        schema = self._plain(schema)
        if name in self.ids:
            return self.ids[name]
        for known in ("const", "examples", "enum"):
            if known in schema:
                return schema[known] if known == "const" else schema[known][0]
        kind = schema.get("type")
        if kind == "object":
            return {key: self._good(s, key) for key, s in schema.get("properties", {}).items()}
        if kind == "array":
            singular = name.removesuffix("s")
            return [self._good(schema["items"], singular)] if "items" in schema else []
        if kind == "string":
            return "2100-01-01T00:00:00Z" if schema.get("format") == "date-time" else "Peanuts"
        return {"integer": int(schema.get("minimum", 1)), "boolean": False}.get(str(kind))

    def _schema_at(self, schema: Any, at: Sequence[str | int]) -> Mapping[str, Any]:
        for step in at:
            schema = self._plain(schema or {})
            key = "items" if isinstance(step, int) else "properties"
            schema = schema.get(key, {})
            schema = schema if isinstance(step, int) else schema.get(step, {})
        return dict(self._plain(schema or {}))

    def _edges(self, schema: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what the schema just allows: there the sums behind it may overflow."""
        for bound in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if bound in schema:
                yield from (int(schema[bound]) + step for step in (-1, 0, 1))
        yield from schema.get("enum", ())
        for bound in ("minLength", "maxLength"):
            if bound in schema:
                yield from (sign * schema[bound] for sign in ("a", "\U0001f95c", "e\u0301", "\n"))
        if "maxItems" in schema and isinstance(schema.get("items"), Mapping):
            item = self._good(schema["items"], "")
            yield from ([item] * schema["maxItems"], [item] * (schema["maxItems"] + 1))


def _places(
    value: Any, at: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Yield each place in a body with what is there, the whole first."""
    yield at, value
    if len(at) > _DEPTH_MAX:
        return
    items = value.items() if isinstance(value, dict) else ()
    for key, part in [*items, *(enumerate(value[:1]) if isinstance(value, list) else ())]:
        yield from _places(part, (*at, key))


def _spliced(good: Any, at: Sequence[str | int], raw: bytes) -> bytes:
    if not at:
        return raw
    return json.dumps(_with(good, at, _HERE)).encode().replace(json.dumps(_HERE).encode(), raw)


def _with(value: Any, at: Sequence[str | int], new: Any) -> Any:
    if not at:
        return new
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    inner = copy.get(at[0]) if isinstance(copy, dict) else copy[int(at[0])]
    copy[at[0]] = _with(inner, at[1:], new)
    return copy


def _without(value: Any, at: Sequence[str | int]) -> Any:
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if len(at) == 1:
        del copy[at[0]]
    else:
        copy[at[0]] = _without(copy[at[0]], at[1:])
    return copy
