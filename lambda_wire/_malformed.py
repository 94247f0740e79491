"""The fault that accuses nobody: these bytes, or this value, cannot be said on this wire."""

from __future__ import annotations

__all__ = ["Malformed", "quote"]

_QUOTED = 64


def quote(value: object) -> str:
    """Return ``repr(value)`` cut to 64 characters: what a message may quote of a peer."""
    try:
        if isinstance(value, (bytes, bytearray)):
            text = repr(bytes(value[:_QUOTED]))
        else:
            text = repr(value[:_QUOTED] if isinstance(value, str) else value)
    except ValueError:  # an integer of more digits than Python prints
        text = f"a huge {type(value).__name__}"
    return text if len(text) <= _QUOTED else text[:_QUOTED] + "..."


class Malformed(ValueError):
    """A value or a byte string that cannot be said on this wire.

    Codecs and constructors raise it; it says nothing of whose fault it is.

    Attributes:
        reason: What was expected and what came.
        at: Offset in bytes from the start of the message or document, where one is known.
        rule: The rule of ``spec/`` that is broken; empty where whoever asked knows it better.
    """

    def __init__(self, reason: str, *, at: int | None = None, rule: str = "") -> None:
        super().__init__(reason if at is None else f"{reason} (at byte {at})")
        self.reason = reason
        self.at = at
        self.rule = rule
