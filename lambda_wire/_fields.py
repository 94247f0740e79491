"""What may stand in a field line (RFC 9110, 5.1 and 5.5), a document and a payload: asked by all who make one."""

from __future__ import annotations

from lambda_wire._malformed import Malformed, quote
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Final, TypeGuard

    from lambda_wire._types import Headers

__all__ = [
    "are_plain",
    "as_bytes",
    "is_bytes_like",
    "is_field_value",
    "is_host",
    "is_token",
    "require_bytes",
    "require_field_value",
    "require_fields",
    "require_host",
    "require_string",
    "require_text",
    "without_surrogates",
]

_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HOST: Final = frozenset("!$%&'()*+,-.:;=[]_~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CONTROLS: Final = dict.fromkeys(code for code in (*range(0x20), 0x7F) if code != ord("\t"))


def is_token(text: str) -> bool:
    """Say whether ``text`` can be a field's name."""
    return bool(text) and _TOKEN.issuperset(text)


def is_field_value(text: str) -> bool:
    """Say whether ``text`` can be a field's value: no control characters but tabs, and no blanks at its ends."""
    return text.translate(_CONTROLS) == text and text.strip(" \t") == text


def is_host(text: str) -> bool:
    """Say whether ``text`` can be the value of ``Host``: as Go checks it, byte by byte and no more (observed)."""
    return _HOST.issuperset(text)


def are_plain(*texts: str) -> bool:
    """Say whether all are strings of visible ASCII, which may stand anywhere. ``False`` says only: look closer."""
    try:
        joined = "".join(texts)
    except TypeError:
        return False
    return joined.isascii() and joined.isprintable() and " " not in joined


def require_field_value(value: object, what: str, *, rule: str = "") -> None:
    """Refuse what would end or corrupt a header line, or be refused by the service (RFC 9110, 5.5).

    Raises:
        Malformed: ``value`` is no string, has control characters or outer blanks, or surrogates that do not arrive.
    """
    text = require_string(value, what)
    if text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]:
        return  # nearly all there is
    if not is_field_value(text):
        reason = f"{what} must be a header value without control characters or outer blanks, got {quote(text)}"
        raise Malformed(reason, rule=rule)
    try:
        arrives = text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        arrives = ""
    if arrives != text:  # lone surrogates stand for no byte, and some together for a character of their own
        raise Malformed(f"{what} must be text that arrives as UTF-8, got {quote(text)}", rule=rule)


def require_fields(headers: Headers, said: Collection[str]) -> None:
    """Refuse the other fields of an event if they are no pairs of name and value, names in lower case.

    Args:
        headers: They.
        said: What the event has a place for, or the message says of itself, in lower case: none of them.

    Raises:
        Malformed: One cannot travel, or would say something else than what it is.
    """
    if type(headers) is not tuple:
        raise Malformed(f"headers must be a tuple of pairs, got {type(headers).__name__}")
    for pair in headers:
        if type(pair) is not tuple or len(pair) != 2:
            raise Malformed(f"a header must be a pair of name and value, got {quote(pair)}")
        name, value = pair
        if type(name) is not str or not is_token(name) or name != name.lower():
            raise Malformed(f"the name of a header must be a token in lower case, got {quote(name)}")
        if name in said:
            raise Malformed(f"the event or the message has a place of its own for header {name}")
        require_field_value(value, name)


def require_host(value: str) -> None:
    """Refuse what a client cannot say in ``Host``: the service takes an empty one, but we would have asked nobody.

    Raises:
        Malformed: ``value`` is no host.
    """
    require_field_value(value, "host")
    if not value or not is_host(value):
        raise Malformed(f"host must be a name or an address, with or without a port, got {quote(value)}")


def require_string(value: object, what: str) -> str:
    """Return ``value``, which is a string.

    Raises:
        Malformed: It is none.
    """
    if not isinstance(value, str):
        raise Malformed(f"{what} must be a string, got {type(value).__name__}")
    return value


def require_text(value: object, what: str) -> None:
    """Refuse what a document would not carry as it was said: text that is no UTF-8.

    Raises:
        Malformed: ``value`` is no string, or has surrogates.
    """
    text = require_string(value, what)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Malformed(f"{what} must be encodable as UTF-8, got {quote(text)}") from None


def without_surrogates(text: str) -> str:
    """Return text that ``require_text`` lets pass: JSON can escape surrogates that stand for nothing."""
    return text.encode("utf-8", "replace").decode()


def require_bytes(value: object, what: str) -> None:
    """Refuse what only looks like bytes: its length may not be the number of its bytes, and it may change later.

    Raises:
        Malformed: ``value`` is not ``bytes``.
    """
    if type(value) is not bytes:
        raise Malformed(f"{what} must be bytes, got {type(value).__name__}")


def is_bytes_like(value: object) -> TypeGuard[BytesLike]:
    """Say whether ``value`` is data as it stands."""
    return isinstance(value, BytesLike)


def as_bytes(value: object, what: str) -> bytes:
    """Return data of any kind as ``bytes``; what ``bytes()`` would make of a number or a list was never meant.

    Raises:
        Malformed: ``value`` is none of ``BytesLike``, or a view that was released.
    """
    if type(value) is bytes:
        return value
    if not is_bytes_like(value):
        raise Malformed(f"{what} must be bytes, bytearray or memoryview, got {type(value).__name__}")
    try:
        return bytes(value)
    except ValueError as fault:
        raise Malformed(f"{what} cannot be read: {fault}") from fault
