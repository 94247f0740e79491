"""The grammar of fields, against the characters themselves (RFC 9110, 5.1 and 5.5)."""

from __future__ import annotations

import string
from collections.abc import Callable
from typing import Any

import pytest

from lambda_wire._fields import (
    are_plain,
    as_bytes,
    is_bytes_like,
    is_field_value,
    is_host,
    is_token,
    require_bytes,
    require_field_value,
    require_fields,
    require_host,
    require_string,
    require_text,
    without_surrogates,
)
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers


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


def test_every_character_of_a_host() -> None:
    """RT-CONN-3: those that Go lets pass, each tried with the emulator; and nothing at all."""
    allowed = set(string.ascii_letters + string.digits + "!$%&'()*+,-.:;=[]_~")
    assert {chr(code) for code in range(0x300) if is_host(f"a{chr(code)}b")} == allowed
    assert is_host("")


@pytest.mark.parametrize("value", [" a", "a ", "\ta", "a\t", " "])
def test_blanks_at_the_ends(value: str) -> None:
    """They would not arrive: a reader strips them."""
    assert not is_field_value(value)


def test_an_empty_value() -> None:
    """It is legal, and says nothing."""
    assert is_field_value("")


@pytest.mark.parametrize("value", [b"ab", bytearray(b"ab"), memoryview(b"ab"), memoryview(b"aabb")[::2]])
def test_bytes_of_every_kind(value: object) -> None:
    """What is given to the wire is really ``bytes``; what is that already is not copied."""
    given = as_bytes(value, "payload")
    assert given == b"ab"
    assert type(given) is bytes
    assert is_bytes_like(value)
    assert (given is value) == (type(value) is bytes)


@pytest.mark.parametrize("value", [5, True, "ab", None, [97, 98], range(3)])
def test_what_is_no_bytes(value: object) -> None:
    """``bytes()`` would make NULs of a number and bytes of a list: neither is what was meant."""
    with pytest.raises(Malformed, match=f"payload must be bytes.*got {type(value).__name__}"):
        as_bytes(value, "payload")
    assert not is_bytes_like(value)


def test_a_view_that_was_released_holds_no_bytes() -> None:
    """As every other value that cannot be sent."""
    view = memoryview(b"ab")
    view.release()
    with pytest.raises(Malformed, match=r"payload cannot be read: .*released"):
        as_bytes(view, "payload")


@pytest.mark.parametrize("value", ["", "text/plain; charset=é", "a\tb", "\udce9"])
def test_what_is_let_into_a_field(value: str) -> None:
    """What a header line can carry, bytes that are no UTF-8 among it."""
    require_field_value(value, "content_type")
    assert is_field_value(value)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (5, "must be a string, got int"),
        (None, "must be a string, got NoneType"),
        ("a\r\nb", "without control characters"),
        (" a", "or outer blanks"),
        ("\ud800", "arrives as UTF-8"),
        ("\udcc3\udca9", "arrives as UTF-8"),
    ],
)
def test_what_is_kept_out_of_a_field(value: object, reason: str) -> None:
    """Each is refused with what it is called and what was wrong with it."""
    with pytest.raises(Malformed, match=f"content_type must be .*{reason.removeprefix('must be ')}"):
        require_field_value(value, "content_type")


@pytest.mark.parametrize("value", ["", "a\r\n\0b", " é漢\U0001f600 "])
def test_what_is_let_into_a_document(value: str) -> None:
    """Every text that is UTF-8 arrives as it was said, and is not changed."""
    require_text(value, "message")
    assert without_surrogates(value) == value


@pytest.mark.parametrize("value", ["\ud800", "a\udcff", "\ud83d\ude00"])
def test_surrogates_do_not_arrive(value: str) -> None:
    """Alone and in pairs; replaced, each by a question mark, they do."""
    with pytest.raises(Malformed, match=r"^message must be encodable as UTF-8, got '.*ud"):
        require_text(value, "message")
    replaced = without_surrogates(value)
    require_text(replaced, "message")
    assert replaced == "".join("?" if "\ud800" <= character <= "\udfff" else character for character in value)


def test_every_plain_character() -> None:
    """Visible ASCII and nothing else, wherever it stands."""
    visible = {chr(code) for code in range(0x21, 0x7F)}
    for around in ("{}", "a{}", "{}a", "a{}a"):
        assert {chr(code) for code in range(0x300) if are_plain("b", around.format(chr(code)))} == visible


@pytest.mark.parametrize("texts", [("",), (), ("", "a", ""), ("text/plain;charset=utf-8", "id")])
def test_plain_texts(texts: tuple[str, ...]) -> None:
    """Any number; each may stand in a field and in a document as it is."""
    assert are_plain(*texts)
    for text in texts:
        require_field_value(text, "content_type")
        require_text(text, "message")


@pytest.mark.parametrize(
    "value", ["a b", " ", "a\tb", "\x7f", "é", "\udcff", chr(0xD800), 5, None, b"a", ["a"], bytearray()]
)
def test_what_is_not_plain(value: object) -> None:
    """It need not be wrong; what is no string is not plain either, beside one that is."""
    ask: Callable[..., bool] = are_plain
    assert not ask(value)
    assert not ask("a", value)
    assert not ask(value, "a")


@pytest.mark.parametrize("value", [5, None, b"a", ["a"]])
def test_what_is_no_string(value: object) -> None:
    """It would arrive as another value, or not at all."""
    for require in (require_string, require_text):
        with pytest.raises(Malformed, match=f"^message must be a string, got {type(value).__name__}$"):
            require(value, "message")


def test_a_string_of_anything() -> None:
    """Where surrogates have a meaning, they may stand."""
    require_string("\ud800", "message")


def test_exactly_bytes() -> None:
    """Events hold ``bytes``: what only looks like them may change later."""
    require_bytes(b"", "payload")
    for value in (bytearray(b"ab"), memoryview(b"ab"), "ab", None):
        with pytest.raises(Malformed, match=f"payload must be bytes, got {type(value).__name__}"):
            require_bytes(value, "payload")


@pytest.mark.parametrize("headers", [(), (("a", ""),), (("x-more", "1"), ("x-more", "\udcff"))])
def test_other_fields(headers: Headers) -> None:
    """Any number, a name as often as it is said."""
    require_fields(headers, {"date"})


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([("a", "b")], "headers must be a tuple of pairs, got list"),
        (None, "headers must be a tuple of pairs, got NoneType"),
        ((1,), "a header must be a pair of name and value, got 1"),
        ((("a", "b", "c"),), "a header must be a pair of name and value"),
        ((["a", "b"],), "a header must be a pair of name and value"),
        (((1, "b"),), "the name of a header must be a token in lower case, got 1"),
        ((("", "b"),), "must be a token"),
        ((("A", "b"),), "in lower case, got 'A'"),
        ((("date", "b"),), "has a place of its own for header date"),
        ((("a", "b"), ("x-more", 1)), "x-more must be a string, got int"),
        ((("a", " "),), "a must be a header value"),
    ],
)
def test_what_is_no_other_field(headers: Any, reason: str) -> None:  # Any: also what the type forbids
    """Each part is looked at before it is used; what can change later is no part of a record."""
    with pytest.raises(Malformed, match=reason):
        require_fields(headers, {"date"})


@pytest.mark.parametrize("value", ["127.0.0.1:9001", "[::1]:9001", "lambda.us-east-1.amazonaws.com"])
def test_what_a_client_says_in_host(value: str) -> None:
    """RT-CONN-2: where it asks."""
    require_host(value)


@pytest.mark.parametrize("value", ["", "a b", "a/b", "é", "a\r\nb", None, b"a"])
def test_what_a_client_does_not_say_in_host(value: Any) -> None:  # Any: also what the type forbids
    """RT-CONN-2: what the service would refuse; and nothing, for then it has said none."""
    with pytest.raises(Malformed, match=r"^host must be .*, got ") as caught:
        require_host(value)
    got = repr(value) if isinstance(value, str) else type(value).__name__
    assert str(caught.value).endswith(f", got {got}")


@pytest.mark.parametrize("value", ["X", "aX", "\xa0", "a\u3000", "\x85a"])
def test_what_is_no_blank_at_the_ends(value: str) -> None:
    """Of what Unicode calls blank only two are, for HTTP."""
    assert is_field_value(value)
    require_field_value(value, "content_type")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a ", "content_type must be a header value without control characters or outer blanks, got 'a '"),
        ("ab ", "content_type must be a header value without control characters or outer blanks, got 'ab '"),
        ("a\ud800", r"content_type must be text that arrives as UTF-8, got 'a\ud800'"),
    ],
)
def test_messages(value: str, message: str) -> None:
    """Expected, got; of short texts, too, that a shortcut could let pass. The rule is named that whoever asks knows."""
    with pytest.raises(Malformed) as caught:
        require_field_value(value, "content_type")
    assert (str(caught.value), caught.value.rule) == (message, "")
    with pytest.raises(Malformed) as caught:
        require_field_value(value, "content_type", rule="FU-PRELUDE-26")
    assert (str(caught.value), caught.value.rule) == (message, "FU-PRELUDE-26")
