"""JSON texts, read and written. ``json`` is imported when one is needed: it costs a cold start 5 ms."""

from __future__ import annotations

from typing import TypeAlias

from lambda_wire._malformed import Malformed, quote

__all__ = ["Json", "json_text", "parse_json"]

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
        raise Malformed(f"expected {what}, got {quote(document)}: {fault}") from fault
    return value


def json_text(value: object) -> str:
    """Return a value as compact JSON in printable ASCII: lone surrogates are escaped like everything else, and DEL."""
    import json

    return json.dumps(value, separators=(",", ":"))
