"""The receive buffer: bounded reads, the same verdict however bytes are delivered, no byte looked at twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._buffer import Buffer
from lambda_wire._malformed import Malformed
from lambda_wire.testing import deliveries


def holding(data: bytes) -> Buffer:
    buffer = Buffer()
    buffer.feed(data)
    return buffer


def read_all(pieces: list[bytes], read: Callable[[Buffer], bytes | None]) -> tuple[list[bytes], bytes, str]:
    """Return everything that ``read`` gives, what is left, and the fault."""
    buffer = Buffer()
    given: list[bytes] = []
    try:
        for piece in pieces:
            buffer.feed(piece)
            while (data := read(buffer)) is not None:
                given.append(data)
    except Malformed as fault:
        return given, b"", str(fault)
    return given, buffer.peek(len(buffer)), ""


def same_for_all(data: bytes, read: Callable[[Buffer], bytes | None]) -> tuple[list[bytes], bytes, str]:
    """Return what every delivery of ``data`` gives."""
    first, *others = [read_all(pieces, read) for pieces in deliveries(data)]
    assert all(other == first for other in others)
    return first


class TestTake:
    """Reads of known size give exactly that, or wait."""

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_takes_any_kind_of_bytes_and_gives_bytes(self, kind: type[bytes | bytearray | memoryview]) -> None:
        """Generous at the mouth, exact at the hand."""
        buffer = Buffer()
        buffer.feed(kind(b"abcd"))
        for data in (buffer.peek(2), buffer.take(2), buffer.take_up_to(1)):
            assert type(data) is bytes

    def test_peek_takes_nothing(self) -> None:
        """Up to so many bytes, again and again."""
        buffer = holding(b"abc")
        assert [buffer.peek(2), buffer.peek(9), buffer.peek(0)] == [b"ab", b"abc", b""]
        assert (len(buffer), buffer.taken) == (3, 0)

    def test_take_is_all_or_nothing(self) -> None:
        """Exactly so many bytes."""
        buffer = holding(b"abc")
        assert buffer.take(4) is None
        assert [buffer.take(2), buffer.take(0), buffer.take(1), buffer.take(1)] == [b"ab", b"", b"c", None]

    def test_take_up_to_gives_what_is_there(self) -> None:
        """Nothing is given as nothing."""
        buffer = holding(b"abc")
        assert [buffer.take_up_to(2), buffer.take_up_to(2), buffer.take_up_to(2)] == [b"ab", b"c", b""]

    def test_counts_what_was_taken(self) -> None:
        """The offset that messages name, over all reads."""
        buffer = holding(b"ab\ncdefg")
        buffer.take_until(b"\n", limit=9)
        buffer.take(1)
        buffer.take_up_to(2)
        assert (buffer.taken, len(buffer)) == (6, 2)

    @given(data=st.binary(max_size=60), size=st.integers(1, 9))
    def test_no_byte_is_lost(self, data: bytes, size: int) -> None:
        """However delivered."""
        given, left, _ = same_for_all(data, lambda buffer: buffer.take(size))
        assert b"".join(given) + left == data
        assert len(left) < size

    def test_what_was_given_stays(self) -> None:
        """A piece is a copy: later bytes do not change it."""
        buffer = holding(b"ab")
        piece = buffer.peek(2)
        buffer.take(2)
        buffer.feed(b"xy")
        assert piece == b"ab"


class TestTakeUntil:
    """Reads to a separator end at the first one, and have a limit."""

    def test_gives_the_separator_too(self) -> None:
        """Everything through it."""
        read = same_for_all(b"a\r\n\r\nb\r\n\r\nc", lambda buffer: buffer.take_until(b"\r\n\r\n", limit=9))
        assert read == ([b"a\r\n\r\n", b"b\r\n\r\n"], b"c", "")

    def test_the_separator_that_ends_first_counts(self) -> None:
        """Whichever was named first; as the ends of a head, LF LF and LF CR LF."""
        wire = b"a\n\nb\n\r\nc\n\n\r\n"
        expected = ([b"a\n\n", b"b\n\r\n", b"c\n\n"], b"\r\n", "")
        assert same_for_all(wire, lambda buffer: buffer.take_until(b"\n\r\n", b"\n\n", limit=9)) == expected
        assert same_for_all(wire, lambda buffer: buffer.take_until(b"\n\n", b"\n\r\n", limit=9)) == expected

    def test_a_separator_may_be_cut_anywhere(self) -> None:
        """A search that resumes goes back far enough."""
        buffer = Buffer()
        for byte in b"xx\0\0\0\0\0\0\0":
            buffer.feed(bytes([byte]))
            assert buffer.take_until(b"\0" * 8, limit=99) is None
        buffer.feed(b"\0\0")
        assert buffer.take_until(b"\0" * 8, limit=99) == b"xx" + b"\0" * 8
        assert len(buffer) == 1

    @given(data=st.lists(st.sampled_from([b"a", b"\r", b"\n", b"\r\n"]), max_size=20).map(b"".join))
    def test_as_a_plain_search_finds(self, data: bytes) -> None:
        """Resumed searches find what one search over all would."""
        given, left, _ = same_for_all(data, lambda buffer: buffer.take_until(b"\r\n\r\n", b"\n\n", limit=999))
        expected: list[bytes] = []
        rest = data
        while ends := [rest.find(mark) + len(mark) for mark in (b"\r\n\r\n", b"\n\n") if mark in rest]:
            expected.append(rest[: min(ends)])
            rest = rest[min(ends) :]
        assert (given, left) == (expected, rest)

    def test_has_a_limit(self) -> None:
        """The separator ends within it or there is a fault, at the same byte for every delivery."""
        exact = same_for_all(b"abc\nabcd\n", lambda buffer: buffer.take_until(b"\n", limit=5))
        assert exact == ([b"abc\n", b"abcd\n"], b"", "")
        given, _, fault = same_for_all(b"abc\nabcde\n", lambda buffer: buffer.take_until(b"\n", limit=5))
        assert given == [b"abc\n"]
        assert fault.startswith("expected b'\\n' within 5 bytes, got b'abcde")
        assert fault.endswith("(at byte 9)")

    def test_the_fault_comes_as_soon_as_it_is_certain(self) -> None:
        """Not a byte more is waited for, and the fault stays."""
        buffer = holding(b"abcde")
        for _ in range(2):
            with pytest.raises(Malformed) as caught:
                buffer.take_until(b"\n", limit=5)
            assert caught.value.at == 5

    def test_the_limit_of_a_later_read_is_its_own(self) -> None:
        """What one search has seen does not hide it from another."""
        buffer = holding(b"ab\n")
        assert buffer.take_until(b"\r\n\r\n", limit=99) is None
        buffer.feed(b"\n")
        assert buffer.take_until(b"\n\n", limit=4) == b"ab\n\n"

    def test_another_separator_is_searched_from_the_start(self) -> None:
        """What was not found is that separator, and no other."""
        buffer = holding(b"key: value;rest")
        assert buffer.take_until(b"\n", limit=100) is None
        assert buffer.take_until(b";", limit=100) == b"key: value;"
        buffer = holding(b"a;b")
        assert buffer.take_until(b"\n", limit=100) is None
        assert buffer.take_until(b"\n", b";", limit=100) == b"a;"

    def test_what_lies_beyond_a_limit_was_not_searched(self) -> None:
        """A read that may go further finds it."""
        buffer = holding(b"abcde;rest")
        with pytest.raises(Malformed):
            buffer.take_until(b";", limit=3)
        assert buffer.take_until(b";", limit=100) == b"abcde;"

    @given(
        data=st.lists(st.sampled_from([b"a", b";", b"\r", b"\n"]), max_size=20),
        reads=st.lists(st.tuples(st.sampled_from([(b"\n",), (b";",), (b"\r\n", b";")]), st.integers(1, 9)), max_size=9),
    )
    def test_every_read_finds_what_a_fresh_search_would(
        self, data: list[bytes], reads: list[tuple[tuple[bytes, ...], int]]
    ) -> None:
        """Whatever was searched for before, and however far."""
        buffer = Buffer()
        for index, (separators, limit) in enumerate(reads):
            buffer.feed(b"".join(data[index * 3 : index * 3 + 3]))
            outcomes: list[object] = []
            for each in (holding(buffer.peek(len(buffer))), buffer):
                try:
                    outcomes.append(each.take_until(*separators, limit=limit))
                except Malformed:
                    outcomes.append(Malformed)
            assert outcomes[0] == outcomes[1]


class Searches(bytearray):
    """Counts the bytes that searches may look at."""

    looked_at = 0

    def find(self, mark: bytes, start: int, end: int) -> int:  # type: ignore[override]  # as the buffer calls it
        Searches.looked_at += min(end, len(self)) - start
        return super().find(mark, start, end)


def test_a_trickle_is_searched_once() -> None:
    """Byte by byte costs a search over each byte and the separator's length before it, not over all again."""
    buffer = Buffer()
    buffer._data = Searches()
    Searches.looked_at = 0
    for _ in range(5000):
        buffer.feed(b"x")
        assert buffer.take_until(b"\r\n\r\n", limit=9999) is None
    assert Searches.looked_at <= 5000 * len(b"\r\n\r\n")
