"""One mouth and one hand: percent-encoding."""

from __future__ import annotations

from urllib.parse import quote, unquote

from lambda_wire._percents import UNRESERVED, decode_percents, encode_percents, text_bytes


def one_input(data: bytes) -> None:
    """Any text is decoded, as ``urllib`` decodes it; what is encoded is what ``urllib`` writes, and comes back."""
    text = data.decode("utf-8", "surrogateescape")
    assert text_bytes(text) == data
    if "\ufffd" not in (decoded := decode_percents(text)):
        assert decoded == unquote(text)
    encoded = encode_percents(text, UNRESERVED)
    assert encoded == quote(text, safe="", errors="surrogateescape")
    assert decode_percents(encoded) == data.decode("utf-8", "replace")
