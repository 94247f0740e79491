"""What may stand in a header or trailer line (RFC 9110, 5.1 and 5.5): asked by all who make or read one."""

from __future__ import annotations

from typing import Final

__all__ = ["is_field_value", "is_token"]

_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_CONTROLS: Final = dict.fromkeys(code for code in (*range(0x20), 0x7F) if code != ord("\t"))


def is_token(text: str) -> bool:
    """Say whether ``text`` can be a field's name."""
    return bool(text) and _TOKEN.issuperset(text)


def is_field_value(text: str) -> bool:
    """Say whether ``text`` can be a field's value: no control characters but tabs, and no blanks at its ends."""
    return text.translate(_CONTROLS) == text and text.strip(" \t") == text
