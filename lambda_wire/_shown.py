"""What a peer said, as it may be shown to people."""

from __future__ import annotations

__all__ = ["lines", "one_line"]


def one_line(text: str) -> str:
    """Return ``text`` as one line that cannot command a terminal."""
    return "".join(map(_harmless, text.strip()))


def lines(text: str) -> str:
    """Return the lines of ``text``, such as a log; tabs stay, and nothing in it can command a terminal."""
    return "".join(c if c in "\n\t" else _harmless(c) for c in text.replace("\r\n", "\n").rstrip("\n"))


def _harmless(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
