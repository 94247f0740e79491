"""One mouth and one hand: percent-encoding."""

from __future__ import annotations

from urllib.parse import quote, unquote_to_bytes

from lambda_wire._percents import UNRESERVED, decode_percents, encode_percents, text_bytes


def one_input(data: bytes) -> None:
    """Any text is decoded, as ``urllib`` decodes its bytes; what is encoded is what it writes, and comes back."""
    text = data.decode("utf-8", "surrogateescape")
    assert text_bytes(text) == data
    assert decode_percents(text) == unquote_to_bytes(data).decode("utf-8", "replace")
    encoded = encode_percents(text, UNRESERVED)
    assert encoded == quote(text, safe="", errors="surrogateescape")
    assert decode_percents(encoded) == data.decode("utf-8", "replace")
