"""JSON texts, read and written. ``json`` is imported when one is needed: it costs a cold start 5 ms."""

from __future__ import annotations

from lambda_wire._malformed import Malformed, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn, TypeAlias

__all__ = ["Json", "json_members", "json_text", "parse_json", "require_json"]

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
"""What ``json.loads`` gives."""


def parse_json(document: bytes | str, what: str = "JSON in UTF-8") -> Json:
    """Return what a JSON text says; bytes are UTF-8.

    Raises:
        Malformed: It is no JSON, not UTF-8, or nested too deeply to read.
    """
    import json

    try:
        value: Json = json.loads(document if isinstance(document, str) else document.decode())
    except (ValueError, RecursionError) as fault:
        raise Malformed(f"expected {what}, got {quote(document)}: {fault}", at=_place(fault, document)) from fault
    return value


def json_members(text: str) -> Iterator[tuple[str, Json, int]]:
    """Give the members of a JSON object that was read, with where each begins: who finds one wrong looks for it."""
    import json

    decoder = json.JSONDecoder()
    at = _after_blanks(text, text.index("{") + 1)
    while text[at] != "}":
        name, end = decoder.raw_decode(text, at)
        value, end = decoder.raw_decode(text, _after_blanks(text, _after_blanks(text, end) + 1))  # behind a colon
        yield name, value, at
        at = _after_blanks(text, end)
        if text[at] == ",":
            at = _after_blanks(text, at + 1)


def _after_blanks(text: str, at: int) -> int:
    while text[at] in " \t\r\n":
        at += 1
    return at


def require_json(document: bytes) -> None:
    """Refuse what is no JSON text (RFC 8259): Python's own reader takes ``NaN``, and no number of 5,000 digits.

    Raises:
        Malformed: It is no JSON, not UTF-8, or nested too deeply to read.
    """
    import json

    try:
        json.loads(document.decode(), parse_constant=_refuse, parse_int=str)
    except (ValueError, RecursionError) as fault:
        reason = f"expected JSON in UTF-8, got {quote(document)}: {fault}"
        raise Malformed(reason, at=_place(fault, document)) from fault


def _place(fault: Exception, document: bytes | str) -> int | None:
    """Return where in bytes the first one is that is wrong, where Python says that."""
    import json

    if isinstance(document, str):
        return None
    if isinstance(fault, json.JSONDecodeError):
        return len(fault.doc[: fault.pos].encode())
    return fault.start if isinstance(fault, UnicodeDecodeError) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def json_text(value: object) -> str:
    """Return a value as compact JSON in printable ASCII: lone surrogates are escaped like everything else, and DEL.

    Raises:
        Malformed: It is nested too deeply to write; that it was read is no proof that it is not.
    """
    import json

    try:
        return json.dumps(value, separators=(",", ":"))
    except RecursionError as fault:
        raise Malformed(f"expected a value that JSON can be written of, got one nested too deeply: {fault}") from fault
