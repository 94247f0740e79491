"""The HTTP metadata prelude: a JSON object, eight NUL bytes, then the body (vnd.awslambda.http-integration-response).

The first run of eight NULs ends the metadata; later NULs are body. JSON escapes NUL, so none can be inside the object.
A delimiter may be cut anywhere by the network: AWS promises no chunk boundaries.

There are two doors. ``Prelude`` refuses what can never travel in an HTTP response head; what is decoded passes it, too.
``require_sendable`` also refuses what a service would remap, drop or answer with 502; what is encoded passes it, too.

Sources: AWS docs (API Gateway, page response-transfer-mode-lambda; Lambda, page urls-invocation); function URLs as
recorded 2026-09 in us-east-1 (github.com/radkawar/stackd, testdata/aws/lambda); AWS's own clients. What is in none
of them is inferred, as the rules say that are named (spec/function-url.md).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, Literal

from lambda_wire import _names as names
from lambda_wire._buffer import Buffer
from lambda_wire._fields import is_token, require_field_value
from lambda_wire._json import Json, json_members, parse_json
from lambda_wire._limits import MAX_PRELUDE
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import field, record
from lambda_wire._signals import NEED_DATA, Signal
from lambda_wire._types import BytesLike

# json is imported where it is used: it loads re, which costs a cold start more than all of this module.

__all__ = [
    "DELIMITER",
    "Prelude",
    "PreludeDecoder",
    "encode_prelude",
    "prelude_from_json",
    "require_sendable",
    "require_text_value",
]

DELIMITER: Final = b"\0" * 8
"""Ends the JSON metadata. Source: AWS docs, "8 null bytes"."""

_NEVER_SENT: Final = names.HOP_BY_HOP_FIELDS | {
    "proxy-authenticate",
    "proxy-authorization",
    # Remapped by function URLs; "can cause API Gateway to reject with a 502" (AWS's .NET client).
    names.CONTENT_LENGTH.lower(),
}


@record
class Prelude:
    """Status, headers and cookies of a streamed HTTP response.

    Refuses what can never travel in an HTTP response head.
    """

    status_code: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    """Names as given, order kept. One value a name: join several with a comma."""
    cookies: tuple[str, ...] = field(default=(), repr=False)
    """Whole ``Set-Cookie`` values, one a cookie."""
    multi_value_headers: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Understood by API Gateway REST APIs only: function URLs answer 500 (AWS's .NET client says so)."""

    def __post_init__(self) -> None:
        _checked_status(self.status_code)
        for name, value in self.headers:
            _require_name(name)
            require_text_value(value, f"header {quote(name)}")
        for cookie in self.cookies:
            require_text_value(cookie, "a cookie")
        for name, values in self.multi_value_headers:
            _require_name(name)
            for value in values:
                require_text_value(value, f"header {quote(name)}")


def _checked_status(value: object) -> int:
    """Refuse what is no status. 700 was answered with 502 (function URL, BUFFERED, recorded 2026-09)."""
    if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
        return value
    raise Malformed(f"statusCode must be an integer from 100 to 599, got {_shown(value)}", rule="FU-PRELUDE-20")


def _require_name(value: object) -> None:
    """Refuse what is no token (RFC 9110, 5.6.2)."""
    if not isinstance(value, str) or not is_token(value):
        raise Malformed(f"a header name must be an HTTP token, got {_shown(value)}", rule="FU-PRELUDE-26")


def require_text_value(value: object, what: str) -> None:
    """Refuse what is no field value (RFC 9110, 5.5), or has bytes that are not UTF-8: JSON could not say them.

    Raises:
        Malformed: ``value`` is not a string, has control characters, any surrogates, or blanks at its ends.
    """
    require_field_value(value, what, rule="FU-PRELUDE-26")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise Malformed(f"{what} must be encodable as UTF-8, got {quote(value)}", rule="FU-PRELUDE-8") from None


def _shown(value: object) -> str:
    """Quote a plain value; of a container say the type only: it may be deep or long."""
    return quote(value) if value is None or isinstance(value, (str, bytes, int, float)) else type(value).__name__


def require_sendable(prelude: Prelude) -> None:
    """Refuse what a service would remap, drop or answer with 502.

    Raises:
        Malformed: A field belongs to the connection, repeats another's name, or is ``Set-Cookie``.
    """
    for what, fields in (("headers", prelude.headers), ("multi_value_headers", prelude.multi_value_headers)):
        seen: set[str] = set()
        for name, _ in fields:
            lower = name.lower()
            if lower in _NEVER_SENT:
                raise Malformed(f"{what} must not have {name}: it belongs to the connection, not to the response")
            if lower == "set-cookie":
                raise Malformed(f"{what} must not have {name}: give each cookie as an entry of cookies")
            if lower in seen:
                raise Malformed(
                    f"{what} must have {quote(name)} once: the wire carries them as an object; join the values"
                )
            seen.add(lower)


def encode_prelude(prelude: Prelude, *, max_bytes: int = MAX_PRELUDE) -> bytes:
    """Return the JSON metadata with its delimiter, as the narrowest known reader wants it.

    ``cookies`` is always present because one of them requires it (FU-PRELUDE-17). All of it is ASCII.

    Args:
        prelude: What to say.
        max_bytes: The largest result. API Gateway looks for the delimiter in the first 16 KiB; function URLs document
            no limit.

    Raises:
        Malformed: ``prelude`` is not sendable, or the result exceeds ``max_bytes``.
    """
    import json

    require_sendable(prelude)
    document: dict[str, object] = {
        "statusCode": prelude.status_code,
        "headers": dict(prelude.headers),
        "cookies": prelude.cookies,
    }
    if prelude.multi_value_headers:
        document["multiValueHeaders"] = dict(prelude.multi_value_headers)
    encoded = json.dumps(document, separators=(",", ":")).encode("ascii") + DELIMITER
    if len(encoded) > max_bytes:
        raise Malformed(f"a prelude must fit {max_bytes} bytes with its delimiter, got {len(encoded)}")
    return encoded


class PreludeDecoder:
    """Reads one prelude from the front of a stream, however it is cut; what follows is the body.

    Args:
        max_bytes: Where the delimiter must have ended.
    """

    __slots__ = ("_buffer", "_document", "_max_bytes", "_prelude")

    def __init__(self, *, max_bytes: int = MAX_PRELUDE) -> None:
        self._max_bytes = max_bytes
        self._buffer = Buffer()
        self._document: bytes | None = None
        self._prelude: Prelude | None = None

    def feed(self, data: BytesLike) -> None:
        """Take the next bytes of the stream."""
        self._buffer.feed(data)

    def next_prelude(self) -> Prelude | Literal[Signal.NEED_DATA]:
        """Return the prelude, the same each time, as soon as its delimiter is whole.

        Raises:
            Malformed: No delimiter within ``max_bytes``, or what it ends is no prelude. Raised again each time.
        """
        if self._prelude is None:
            if self._document is None:
                self._document = self._buffer.take_until(DELIMITER, limit=self._max_bytes, rule="FU-PRELUDE-12")
            if self._document is None:
                return NEED_DATA
            self._prelude = _read(self._document.removesuffix(DELIMITER))
        return self._prelude

    def rest(self) -> bytes:
        """Take the body bytes that are there; ``b""`` before ``next_prelude`` has given the prelude."""
        return b"" if self._prelude is None else self._buffer.take_up_to(len(self._buffer))

    def end(self) -> None:
        """Say that the stream is over.

        Raises:
            Malformed: It is over before the prelude was, or what came is none.
        """
        if self.next_prelude() is NEED_DATA:
            reason = "the stream ended before the 8 NUL bytes that end its prelude"
            raise Malformed(reason, at=len(self._buffer), rule="FU-PRELUDE-3")


def _read(document: bytes) -> Prelude:
    members = parse_json(document)
    try:
        return prelude_from_json(members)
    except Malformed as fault:
        if not isinstance(members, dict):
            raise
        raise _placed(document.decode()) or fault from fault


def _placed(text: str) -> Malformed | None:
    """Return what is wrong with the first member that is wrong alone, as one is, with where it begins."""
    faults = (
        Malformed(fault.reason, at=len(text[:at].encode()), rule=fault.rule)
        for name, value, at in json_members(text)
        if (fault := _fault_of({name: value})) is not None
    )
    first = None
    with suppress(RecursionError):  # what was read is read again in a deeper call: Python 3.12 may have no room left
        first = next(faults)
    return first


def _fault_of(document: Json) -> Malformed | None:
    try:
        prelude_from_json(document)
    except Malformed as fault:
        return fault
    return None


def prelude_from_json(document: Json) -> Prelude:
    """Return what a metadata object says, read as function URLs read it.

    Missing and null keys have their defaults (FU-PRELUDE-16, FU-PRELUDE-19), unknown keys are ignored (FU-PRELUDE-18),
    and a status of three digits in a string counts (FU-PRELUDE-22). Header values that are no strings are rendered, an
    object as ``{bad=true}`` (FU-PRELUDE-28); values in an array are joined with commas (FU-PRELUDE-29), and a null is
    no header. Hop-by-hop fields and ``Set-Cookie`` pass.

    Raises:
        Malformed: It is no object, or says something that cannot travel in a response head.
    """
    if not isinstance(document, dict):
        raise Malformed(f"a prelude must be a JSON object, got {_shown(document)}", rule="FU-PRELUDE-3")
    return Prelude(
        status_code=_status(document.get("statusCode")),
        headers=tuple((name, _header_value(value)) for name, value in _members(document, "headers")),
        cookies=_cookies(document.get("cookies")),
        multi_value_headers=tuple(
            (name, _texts(value) if isinstance(value, list) else (_text(value),))
            for name, value in _members(document, "multiValueHeaders")
        ),
    )


def _status(value: Json) -> int:
    if value is None:
        return 200
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        return _checked_status(int(value))
    return _checked_status(value)


def _cookies(value: Json) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, list):
        return _texts(value)
    raise Malformed(f"cookies must be an array, got {_shown(value)}", rule="FU-PRELUDE-30")


def _members(document: dict[str, Json], key: str) -> list[tuple[str, Json]]:
    """Return the members of the object under ``key`` that are not null."""
    value = document.get(key)
    if value is None:
        return []
    if isinstance(value, dict):
        return [(name, member) for name, member in value.items() if member is not None]
    raise Malformed(f"{key} must be an object, got {_shown(value)}", rule="FU-PRELUDE-24")


def _header_value(value: Json) -> str:
    if isinstance(value, list):
        return ",".join(_texts(value))
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}={_text(member)}" for name, member in value.items()) + "}"
    return _text(value)


def _texts(values: list[Json]) -> tuple[str, ...]:
    return tuple(_text(value) for value in values if value is not None)


def _text(value: Json) -> str:
    """Return a scalar as text, without the blanks at its ends, which no HTTP reader sees (RFC 9110, 5.5)."""
    import json

    if isinstance(value, str):
        return value.strip(" \t")
    if isinstance(value, (dict, list)):
        raise Malformed(f"a header value must not be nested, got {_shown(value)} in it", rule="FU-PRELUDE-24")
    return json.dumps(value)
