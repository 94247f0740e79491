"""The fault that accuses nobody: it says what was wrong, where, and quotes little."""

from __future__ import annotations

import pytest

from lambda_wire._malformed import Malformed, quote


def test_it_is_a_value_error() -> None:
    """A caller that knows nothing of us catches it all the same."""
    assert issubclass(Malformed, ValueError)


def test_says_what_and_where() -> None:
    """The offset is part of the message when there is one, offset 0 too."""
    fault = Malformed("expected x, got y", at=0)
    assert str(fault) == "expected x, got y (at byte 0)"
    assert (fault.reason, fault.at) == ("expected x, got y", 0)


def test_says_what_alone() -> None:
    """A value has no offset."""
    fault = Malformed("expected x, got y")
    assert str(fault) == fault.reason == "expected x, got y"
    assert fault.at is None


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a", "'a'"),
        (b"a\0", "b'a\\x00'"),
        (bytearray(b"a"), "b'a'"),
        (7, "7"),
        (None, "None"),
        ("x" * 62, repr("x" * 62)),
        ("x" * 63, "'" + "x" * 63 + "..."),
        ("x" * 100 + "'", "'" + "x" * 63 + "..."),
        (b"\0" * 5_000_000, "b'" + "\\x00" * 15 + "\\x..."),
        (10**100, "1" + "0" * 63 + "..."),
    ],
)
def test_quotes_at_most_64_characters(value: object, quoted: str) -> None:
    """A peer's 5 MB do not end up in a message."""
    assert quote(value) == quoted


def test_a_huge_number_is_named_and_not_printed() -> None:
    """Python refuses to print integers of more than 4,300 digits: the message must not fail for that."""
    assert quote(10**5000) == "a huge int"
