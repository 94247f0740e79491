"""The grammar of fields, against the characters themselves (RFC 9110, 5.1 and 5.5)."""

from __future__ import annotations

import string

import pytest

from lambda_wire._fields import is_field_value, is_token


def test_every_character_of_a_token() -> None:
    """Letters, digits and fifteen signs; nothing else, and never nothing."""
    allowed = set(string.ascii_letters + string.digits + "!#$%&'*+-.^_`|~")
    assert {chr(code) for code in range(0x300) if is_token(chr(code))} == allowed
    assert is_token("X-Amz-Date")
    assert not is_token("")
    assert not is_token("a b")


def test_every_character_of_a_value() -> None:
    """No control characters; tabs and blanks only inside."""
    refused = {chr(code) for code in range(0x300) if not is_field_value(f"a{chr(code)}b")}
    assert refused == {chr(code) for code in (*range(0x20), 0x7F)} - {"\t"}


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " "])
def test_blanks_at_the_ends(value: str) -> None:
    """They would not arrive: a reader strips them."""
    assert not is_field_value(value)


def test_an_empty_value() -> None:
    """It is legal, and says nothing."""
    assert is_field_value("")
