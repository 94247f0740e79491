"""JSON texts, against the standard library's."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambda_wire._json import json_members, json_text, parse_json, require_json
from lambda_wire._malformed import Malformed

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(value=VALUES)
def test_inverse(value: object) -> None:
    """What was written is read, as bytes and as text."""
    text = json_text(value)
    assert parse_json(text) == value
    assert parse_json(text.encode("ascii")) == value


@given(value=VALUES)
def test_the_text_may_stand_in_a_header(value: object) -> None:
    """Printable ASCII alone, without a blank that the value does not have."""
    text = json_text(value)
    assert all(" " <= character <= "~" for character in text)
    assert text == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": [1, None, True], "b": 2.5}, '{"a":[1,null,true],"b":2.5}'),
        ("é☃\U0001f600", r'"\u00e9\u2603\ud83d\ude00"'),
        ("\x7f\n\0", r'"\u007f\n\u0000"'),
        ("\ud800", r'"\ud800"'),
        ("\udcff", r'"\udcff"'),
    ],
)
def test_texts(value: object, text: str) -> None:
    """Compact; DEL and lone surrogates are escaped like everything that is not printable ASCII, and come back."""
    assert json_text(value) == text
    assert parse_json(text) == value


def test_what_is_nested_too_deeply_to_write() -> None:
    """Nothing but ``Malformed`` leaves, with its cause, and says little."""
    value: list[object] = []
    for _ in range(200_000):
        value = [value]
    with pytest.raises(
        Malformed, match=r"^expected a value that JSON can be written of, got one nested too deeply: "
    ) as caught:
        json_text(value)
    assert isinstance(caught.value.__cause__, RecursionError)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]")])
def test_what_was_read_is_written_or_malformed(before: str, after: str) -> None:
    """At every depth: reading may go one level deeper than writing."""
    for depth in (*range(400, 1101), *range(2000, 10_001, 1000)):
        text = before * depth + "1" + after * depth
        try:
            written = json_text(parse_json(text))
        except Malformed:
            continue
        assert written == text


def test_bytes_are_utf_8() -> None:
    """Whatever ``json`` would guess: RFC 8259, 8.1."""
    assert parse_json('"é☃"'.encode()) == "é☃"
    with pytest.raises(Malformed, match="expected JSON in UTF-8"):
        parse_json('"a"'.encode("utf-16"))


@pytest.mark.parametrize(
    "document",
    [b"", b" ", b"{", b"{'a': 1}", b"nul", b"1 2", b'"\xff"', b"\xef\xbb\xbf1", "", "{", b"[" * 200_000, b"1" * 5000],
)
def test_what_is_no_json(document: bytes | str) -> None:
    """Nothing but ``Malformed`` leaves, with its cause; what is nested without end, or is a number without end, too."""
    with pytest.raises(Malformed, match=r"^expected an event, got ") as caught:
        parse_json(document, "an event")
    assert isinstance(caught.value.__cause__, (ValueError, RecursionError))
    assert len(str(caught.value)) < 300


# -- what must only be JSON


@given(value=VALUES)
def test_what_is_written_is_json(value: object) -> None:
    """Unless it holds what JSON has no word for."""
    text = json_text(value)
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        with pytest.raises(Malformed, match="Infinity is no JSON"):
            require_json(text.encode("ascii"))
    else:
        require_json(text.encode("ascii"))


@pytest.mark.parametrize(
    "document",
    [
        b"1" * 5000,
        b"-" + b"9" * 5000,
        b"[1e999999, -1E+400, 0." + b"1" * 5000 + b"]",
        b'{"NaN": "Infinity"}',
        b'"\\ud800"',
        '"é☃"'.encode(),
        b" \t\r\nnull ",
    ],
)
def test_what_is_json_is_let_through(document: bytes) -> None:
    """No number is too long or too large to be JSON (RFC 8259, 6), and nothing is looked at but the form."""
    require_json(document)


@pytest.mark.parametrize(
    "document",
    [
        *(b"", b" ", b"{", b"{'a': 1}", b"nul", b"1 2", b"01", b"1.", b"[" * 200_000, b'"\n"'),
        *(b'"\xff"', b"\xef\xbb\xbf1", b'"\xed\xa0\x80"', '"a"'.encode("utf-16")),
        *(b"NaN", b"Infinity", b"-Infinity", b"[1, NaN]", b'{"a": Infinity}', b'{"a": {"b": [-Infinity]}}'),
    ],
)
def test_what_is_no_json_is_refused(document: bytes) -> None:
    """Also what Python's reader would take for a number; nothing but ``Malformed`` leaves, with its cause."""
    with pytest.raises(Malformed, match=r"^expected JSON in UTF-8, got ") as caught:
        require_json(document)
    assert isinstance(caught.value.__cause__, (ValueError, RecursionError))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_constant_that_is_no_json_is_named(constant: str) -> None:
    """So that whoever wrote it finds it."""
    with pytest.raises(Malformed, match=f": {constant} is no JSON$"):
        require_json(f'{{"a": [{constant}]}}'.encode("ascii"))


def test_messages() -> None:
    """Expected, got, why."""
    with pytest.raises(Malformed, match=r"^expected an event, got '\{': Expecting property name"):
        parse_json("{", "an event")
    with pytest.raises(Malformed, match=r"^expected JSON in UTF-8, got b'NaN': NaN is no JSON"):
        require_json(b"NaN")


@pytest.mark.parametrize(
    ("document", "at"),
    [
        (b'{"a":1,]', 7),
        ('{"é":x}'.encode(), 6),
        (b'"\xff"', 1),
        (b"[" * 200_000, None),
        ('{"é":x}', None),
    ],
    ids=["syntax", "syntax behind é", "no UTF-8", "too deep", "text"],
)
def test_a_fault_of_bytes_says_where(document: bytes | str, at: int | None) -> None:
    """In bytes, where Python says it."""
    with pytest.raises(Malformed) as caught:
        parse_json(document)
    assert caught.value.at == at
    if isinstance(document, bytes):
        with pytest.raises(Malformed) as caught:
            require_json(document)
        assert caught.value.at == at


@given(
    value=st.dictionaries(st.text(max_size=5), VALUES, max_size=4),
    indent=st.sampled_from([None, 1, "\t"]),
    blank=st.sampled_from(["", " ", "\r\n"]),
)
@example(value={"a": 1, "b": [2]}, indent=None, blank="")
def test_members_are_found_where_they_stand(value: dict[str, object], indent: int | str | None, blank: str) -> None:
    """Each with its name, however the text is laid out (RFC 8259, 2)."""
    written = json.dumps(value, indent=indent, separators=(f"{blank},{blank}", f"{blank}:{blank}"))
    text = f"{blank}{written}{blank}"
    members = list(json_members(text))
    assert {name: member for name, member, _ in members} == value
    assert all(text.startswith(json.dumps(name), at) for name, _, at in members)
