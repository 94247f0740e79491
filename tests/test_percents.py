"""Percent-encoding, against the standard library's."""

from __future__ import annotations

import string
from urllib.parse import quote, quote_from_bytes, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_percents import one_input
from lambda_wire._malformed import Malformed
from lambda_wire._percents import LETTERS_AND_DIGITS, UNRESERVED, decode_percents, encode_percents, text_bytes

TEXTS = st.text("%aAfF09gZ+ -._~/é☃\udc80\udcff", max_size=20)


def test_what_never_needs_encoding() -> None:
    """RFC 3986, 2.3."""
    assert bytes(sorted(LETTERS_AND_DIGITS)).decode() == "".join(sorted(string.ascii_letters + string.digits))
    assert {chr(byte) for byte in {*UNRESERVED} - {*LETTERS_AND_DIGITS}} == set("-._~")


class TestEncode:
    """Text -> its bytes, all but the plain ones as two digits."""

    @pytest.mark.parametrize("byte", range(256))
    def test_every_byte(self, byte: int) -> None:
        """As urllib does it; a byte that is no UTF-8 came as a surrogate."""
        text = bytes([byte]).decode("utf-8", "surrogateescape")
        assert encode_percents(text, UNRESERVED) == quote_from_bytes(bytes([byte]), safe="")

    @given(text=TEXTS)
    def test_writes_as_urllib_does(self, text: str) -> None:
        """Whatever is plain beside the unreserved."""
        assert encode_percents(text, UNRESERVED) == quote(text, safe="", errors="surrogateescape")
        assert encode_percents(text, UNRESERVED + b"/") == quote(text, errors="surrogateescape")

    def test_only_what_is_plain(self) -> None:
        """Even letters are encoded where they are not."""
        assert encode_percents("a-é", b"-") == "%61-%C3%A9"
        assert encode_percents("", b"") == ""


class TestDecode:
    """Escapes -> text."""

    @given(text=st.text("%aAfF09gZ+ é☃/", max_size=20))
    def test_inverts_encoding(self, text: str) -> None:
        """What was encoded comes back, whoever encoded it."""
        assert decode_percents(encode_percents(text, UNRESERVED)) == text
        assert decode_percents(quote(text)) == text

    @given(text=st.text("%aAcCeE289gZ+ /", max_size=20))
    def test_reads_as_urllib_does(self, text: str) -> None:
        """Malformed escapes and malformed UTF-8 give what urllib gives."""
        assert decode_percents(text) == unquote(text)

    @pytest.mark.parametrize("text", ["%", "%4", "%zz", "% 4", "%+4", "%%41", "100%", "a%4_"])
    def test_keeps_what_is_no_escape(self, text: str) -> None:
        """A percent sign without two digits is itself."""
        assert decode_percents(text) == unquote(text)

    def test_raw_bytes(self) -> None:
        """A byte that stands for itself and is no UTF-8 reads as U+FFFD, as an escaped one does."""
        assert decode_percents("a\udcffb") == decode_percents("a%FFb") == "a\ufffdb"
        assert decode_percents("\udcc3%A9") == "é"


class TestBytes:
    """The bytes of a text of the wire."""

    @given(data=st.binary(max_size=20))
    def test_every_byte_is_kept(self, data: bytes) -> None:
        """Also those that are no UTF-8."""
        assert text_bytes(data.decode("utf-8", "surrogateescape")) == data

    @pytest.mark.parametrize("text", ["\ud800", "a\udfff", "b\udc7f"])
    def test_a_surrogate_that_stands_for_no_byte(self, text: str) -> None:
        """Cannot be said on this wire."""
        with pytest.raises(Malformed, match="expected text of a request target, got"):
            text_bytes(text)
        with pytest.raises(Malformed, match="expected text of a request target, got"):
            encode_percents(text, UNRESERVED)


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=20))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(parts=st.lists(st.sampled_from([b"%", b"4", b"aF", b"%C3", b"%A9", b"\xc3", b" ", b"x"]), max_size=8))
    def test_nearly_right(self, parts: list[bytes]) -> None:
        """Escapes, and what is nearly one."""
        one_input(b"".join(parts))


def test_the_message_quotes_the_text() -> None:
    """Expected, got."""
    with pytest.raises(Malformed) as caught:
        text_bytes("a\ud800")
    assert str(caught.value) == r"expected text of a request target, got 'a\ud800'"
