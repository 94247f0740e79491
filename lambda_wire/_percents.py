"""Percent-encoding (RFC 3986, 2.1) of text that may be any text: UTF-8, and bytes that are none as surrogates."""

from __future__ import annotations

from lambda_wire._malformed import Malformed, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

__all__ = ["LETTERS_AND_DIGITS", "UNRESERVED", "decode_percents", "encode_percents", "text_bytes"]

LETTERS_AND_DIGITS: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#: What never needs encoding (RFC 3986, 2.3).
UNRESERVED: Final = LETTERS_AND_DIGITS + b"-._~"
_HEX: Final = b"0123456789ABCDEFabcdef"


def encode_percents(text: str, plain: bytes) -> str:
    """Return ``text`` with every byte but those in ``plain`` as ``%XX``.

    Raises:
        Malformed: It holds a surrogate that stands for no byte.
    """
    data = text_bytes(text)
    if not data.translate(None, plain):
        return text
    return "".join(chr(byte) if byte in plain else f"%{byte:02X}" for byte in data)


def decode_percents(text: str) -> str:
    """Return ``text`` with ``%XX`` as the UTF-8 bytes they stand for; a percent sign without two digits stays."""
    first, *rest = text.encode("utf-8", "surrogateescape").split(b"%")
    decoded = bytearray(first)
    for part in rest:
        digits = part[:2]
        if len(digits) == 2 and not digits.strip(_HEX):
            decoded += bytes.fromhex(digits.decode()) + part[2:]
        else:
            decoded += b"%" + part
    return decoded.decode("utf-8", "replace")


def text_bytes(text: str) -> bytes:
    """Return the bytes of a text of the wire.

    Raises:
        Malformed: It holds a surrogate that stands for no byte.
    """
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as fault:
        raise Malformed(f"expected text of a request target, got {quote(text)}") from fault
