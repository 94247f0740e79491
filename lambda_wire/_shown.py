"""What a peer said, as it may be shown to people."""

from __future__ import annotations

__all__ = ["one_line"]


def one_line(text: str) -> str:
    """Return ``text`` as one line that cannot command a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text.strip())
