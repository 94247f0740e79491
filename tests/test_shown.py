"""What is shown of a peer's words: nothing in it can command a terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._shown import lines, one_line

ANYTHING = st.text(st.characters(exclude_categories=()))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain words, Größe, 大きさ", "plain words, Größe, 大きさ"),
        ("  around \n", "around"),
        ("two\nlines\tand\r\na tab", r"two\nlines\tand\r\na tab"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("C1: \x9b31m", r"C1: \x9b31m"),
        ("backwards \u202e", r"backwards \u202e"),
        ("half \ud83d of a pair", r"half \ud83d of a pair"),
        ("a\u2028b", r"a\u2028b"),
    ],
)
def test_one_line_is_one_line(text: str, shown: str) -> None:
    """Printable characters stay, the others are escaped as in Python source, and blanks around are left out."""
    assert one_line(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("START\nREPORT\tDuration: 1 ms\n\n", "START\nREPORT\tDuration: 1 ms"),
        ("  kept\r\n\r\nas it stands", "  kept\n\nas it stands"),
        ("a bar\rthat moves", r"a bar\rthat moves"),
        ("blanks at the end \t \n\n", "blanks at the end \t "),
        ("MAX\n", "MAX"),
        ("\x1b]0;title\x07\nnext", r"\x1b]0;title\x07" + "\nnext"),
    ],
)
def test_lines_stay_lines(text: str, shown: str) -> None:
    """The ends of lines and tabs stay; every other control character is escaped."""
    assert lines(text) == shown


@given(text=ANYTHING)
def test_nothing_commands_a_terminal(text: str) -> None:
    """Whatever was said."""
    assert one_line(text).isprintable()
    assert all(line.isprintable() for line in lines(text).replace("\t", "").split("\n"))


@given(text=st.text(st.characters(exclude_categories=("C", "Z"))))
def test_what_is_harmless_stays(text: str) -> None:
    """As it was said."""
    assert one_line(text) == lines(text) == text
