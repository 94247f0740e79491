"""The receive buffer: bounded reads, the same verdict however bytes are delivered, no byte looked at twice."""

from __future__ import annotations

import tracemalloc
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

    @pytest.mark.parametrize("count", [0, 3, 7])
    def test_skip(self, count: int) -> None:
        """What is thrown away was taken, too, and nothing after it was searched."""
        buffer = holding(b"abcdefg")
        assert buffer.take_until(b"\n", limit=9) is None
        buffer.skip(count)
        left = b"abcdefg"[count:]
        assert (buffer.peek(9), buffer.size, buffer.taken) == (left, len(left), count)
        buffer.feed(b"\n")
        assert buffer.take_until(b"\n", limit=9) == left + b"\n"

    def test_piece(self) -> None:
        """All that is here as it came, if it came together; what came in parts, or may change, is none."""
        came = b"abcdefg"
        buffer = holding(came)
        buffer.skip(2)
        piece = buffer.piece()
        assert piece is not None
        assert piece[0] is came
        assert piece[1] == 2
        buffer.feed(b"h" * 2000)
        assert buffer.piece() is None
        buffer.skip(5)
        assert buffer.piece() == (b"h" * 2000, 0)
        buffer = Buffer()
        buffer.feed(bytearray(came))
        assert buffer.piece() is None
        assert Buffer().piece() == (b"", 0)

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
        """Not a byte more is waited for, and the fault stays. It names the rule that whoever reads gave."""
        buffer = holding(b"abcde")
        for _ in range(2):
            with pytest.raises(Malformed) as caught:
                buffer.take_until(b"\n", limit=5)
            assert (caught.value.at, caught.value.rule) == (5, "")
        with pytest.raises(Malformed) as caught:
            buffer.take_until(b"\n", limit=5, rule="RS-PRELUDE-1")
        assert caught.value.rule == "RS-PRELUDE-1"

    def test_the_fault_quotes_what_it_copies(self) -> None:
        """A peer that sends too much does not make us copy all of it once more."""
        limit = 1 << 20
        buffer = holding(b"a" * (limit + 1))
        tracemalloc.start()
        try:
            with pytest.raises(Malformed, match="got b'aaa"):
                buffer.take_until(b"\n", limit=limit)
            assert tracemalloc.get_traced_memory()[1] < limit / 8
        finally:
            tracemalloc.stop()

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


KINDS = st.sampled_from([bytes, bytearray, memoryview])
PIECES = st.lists(st.tuples(KINDS, st.one_of(st.integers(1, 9), st.integers(1000, 3000))), max_size=6)


class TestAcrossPieces:
    """What was received in several pieces reads as one, whichever of them were kept as they came."""

    @given(pieces=PIECES, reads=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4000)), max_size=12))
    def test_as_one_string(  # noqa: C901  # one case a read
        self, pieces: list[tuple[type[bytes], int]], reads: list[tuple[int, int]]
    ) -> None:
        """Every read gives what the same read of one string would, with bytes that come in between."""
        buffer, held, taken = Buffer(), b"", 0
        data = bytes(range(251)) * 80
        for index, (read, count) in enumerate(reads):
            for kind, size in pieces[index : index + 1]:
                start = taken + len(held)
                buffer.feed(kind(data[start : start + size]))
                held += data[start : start + size]
            count = min(count, len(held)) if read in (1, 5) else count
            match read:
                case 0:
                    assert buffer.peek(count) == held[:count]
                    continue
                case 1:
                    gone: bytes | None = held[:count]
                    assert buffer.take_up_to(count) == gone
                case 2:
                    gone = held[:count] if count <= len(held) else None
                    assert buffer.take(count) == gone
                case 3:
                    window, at = buffer.window(count)
                    assert type(window) is bytes
                    assert window[at : at + count] == held[:count]
                    assert held.startswith(window[at:])
                    continue
                case 4:
                    piece = buffer.piece()
                    assert piece is None or piece[0][piece[1] :] == held
                    continue
                case 5:
                    buffer.skip(count)
                    gone = held[:count]
                case 6:
                    gone = held
                    buffer.skip(len(held))
                case _:
                    found = held[:5000].find(b"\xc8\xc9")
                    if found < 0 and len(held) >= 5000:
                        continue
                    gone = held[: found + 2] if found >= 0 else None
                    assert buffer.take_until(b"\xc8\xc9", limit=5000) == gone
            held, taken = held[len(gone or b"") :], taken + len(gone or b"")
            assert (len(buffer), buffer.taken) == (len(held), taken)
        assert buffer.peek(len(held)) == held

    @pytest.mark.parametrize(("count", "left"), [(2500, 2500), (4000, 1000), (4001, 999), (5000, 0), (2000, 3000)])
    def test_a_read_may_end_anywhere(self, count: int, left: int) -> None:
        """Within a piece, between two, at the end of all."""
        data = bytes(range(250)) * 20
        buffer = Buffer()
        for at in (0, 2000, 4000):
            buffer.feed(data[at : at + 2000])
        assert buffer.take(count) == data[:count]
        assert (len(buffer), buffer.peek(9)) == (left, data[count : count + 9])
        assert buffer.take(left) == data[count:]

    @pytest.mark.parametrize("kind", [bytes, bytearray])
    def test_a_window_with_a_mark(self, kind: type[bytes]) -> None:
        """Seen as ``bytes`` up to the count asked for, and only if the mark is near, and not at once."""
        buffer = Buffer()
        for piece in (b"m" + b"x" * 1999, b"m" + b"y" * 1999, b"z" * 2000):
            buffer.feed(kind(piece))
        assert buffer.window_with(b"m", 2000, 4000) is None
        found = buffer.window_with(b"m", 2001, 4000)
        assert found is not None
        window, at = found
        assert type(window) is bytes
        assert window[at : at + 4000] == b"m" + b"x" * 1999 + b"m" + b"y" * 1999
        assert len(buffer) == 6000

    def test_a_piece_that_is_taken_whole_is_not_copied(self) -> None:
        """It is ``bytes``, which nobody can change; of those behind another, one of 1024 bytes is the smallest."""
        for piece in (b"x" * 100_000, b"x" * 1024):
            buffer = holding(b"-" * 2000)
            buffer.feed(piece)
            buffer.skip(2000)
            assert buffer.take(len(piece)) is piece

    @pytest.mark.parametrize(("count", "joined"), [(1, 0), (3000, 0), (3001, 2), (8999, 3), (9000, 3)])
    @pytest.mark.parametrize("look", [Buffer.peek, Buffer.window])
    def test_a_look_joins_no_more_than_it_sees(
        self, look: Callable[[Buffer, int], object], count: int, joined: int
    ) -> None:
        """What lies behind it, and what lies in one piece, stays as it came."""
        pieces = [bytes([number]) * 3000 for number in range(6)]
        buffer = Buffer()
        for piece in pieces:
            buffer.feed(piece)
        look(buffer, count)
        assert buffer.take(joined * 3000) == b"".join(pieces[:joined])
        for piece in pieces[joined:]:
            assert buffer.take(3000) is piece

    def test_a_search_that_waits_copies_nothing(self) -> None:
        """What came as one piece stays as it came."""
        piece = b"x" * 3000
        buffer = holding(piece)
        assert buffer.take_until(b"\n", limit=9999) is None
        assert buffer.take(3000) is piece

    def test_what_is_joined_to_as_much_again_is_not_copied_once_more(self) -> None:
        """Two pieces of one size make one, which is given as it is."""
        buffer = holding(b"a" * 3000)
        buffer.feed(b"b" * 3000)
        seen = buffer.peek(6000)
        assert seen == b"a" * 3000 + b"b" * 3000
        assert buffer.take(6000) is seen

    def test_what_may_change_is_copied(self) -> None:
        """Who receives into memory of his own may use it again at once."""
        for kind in (bytearray, memoryview):
            memory = bytearray(b"abc")
            buffer = Buffer()
            buffer.feed(kind(memory))
            memory[:] = b"xyz"
            assert buffer.take(3) == b"abc"

    def test_wide_items_count_as_bytes(self) -> None:
        """A memoryview's length may be of wider items."""
        buffer = holding(b"-")
        for _ in range(2):
            buffer.feed(memoryview(b"abcdefgh").cast("I"))
        assert (len(buffer), buffer.take(17)) == (17, b"-" + b"abcdefgh" * 2)

    @pytest.mark.parametrize("size", [1, 100, 1500])
    def test_memory_is_what_is_held(self, size: int) -> None:
        """What has been taken is given back, and nothing else, though the buffer is never empty."""
        data = bytes(range(250)) * 410
        buffer = holding(data[:500])
        for at in range(0, 100_000, size):
            buffer.feed(data[at + 500 : at + 500 + size])
            assert buffer.take(size) == data[at : at + size]
        assert len(buffer) == 500
        kept = [buffer._data, *buffer._later]
        assert sum(map(len, kept)) <= 10_000

    def test_small_pieces_have_no_price_of_their_own(self) -> None:
        """They are held together, also behind a large one."""
        for first in (b"x", b"x" * 50_000):
            buffer = holding(first)
            for _ in range(10_000):
                buffer.feed(b"ab")
            assert len(buffer._later) == 1
            assert buffer.take(len(first) + 20_000) == first + b"ab" * 10_000


class Joined(Buffer):
    """Counts the bytes that are copied so that others can be seen beside them."""

    copied = 0

    def _join(self, count: int) -> None:
        before = self._data
        super()._join(count)
        if self._data is not before:
            self.copied += len(self._data)


@pytest.mark.parametrize("size", [1, 7, 1024, 3000, 65_536])
def test_what_lies_across_edges_is_joined_at_linear_cost(size: int) -> None:
    """Double the input, double the work: a search that never ends, however its bytes come."""

    def copied(total: int) -> int:
        buffer = Joined()
        for _ in range(total // size):
            buffer.feed(b"x" * size)
            assert buffer.take_until(b"\n", limit=1 << 30) is None
        return buffer.copied

    for total in (1 << 17, 1 << 18):
        assert copied(total) <= 3 * total


class TestEdges:
    """What lies at the very front, and what comes after a read."""

    def test_skipped_one_after_the_other(self) -> None:
        """Each time from where the last one ended."""
        buffer = holding(b"abcdefgh")
        buffer.skip(2)
        buffer.skip(3)
        assert buffer.take(3) == b"fgh"

    def test_nothing_is_left_of_what_was_skipped(self) -> None:
        """A window of nothing begins at its beginning."""
        buffer = holding(b"ab")
        buffer.skip(2)
        assert buffer.window(1) == (b"", 0)

    def test_a_separator_at_the_front(self) -> None:
        """Of a new kind, and behind what was read."""
        buffer = holding(b"\n\n;")
        assert [buffer.take_until(b"\n", limit=9) for _ in range(2)] == [b"\n"] * 2
        assert buffer.take_until(b";", limit=9) == b";"

    def test_the_separator_that_ends_first(self) -> None:
        """Not the longest, and not the last that is looked for."""
        assert holding(b"abc").take_until(b"b", b"bc", limit=9) == b"ab"

    def test_a_mark_behind_one_byte(self) -> None:
        """It is seen there, and not at once."""
        assert holding(b"ab").window_with(b"b", 3, 9) == (b"ab", 0)
        assert holding(b"ba").window_with(b"b", 3, 9) is None

    def test_a_window_of_what_came_is_what_came(self) -> None:
        """It is not copied to be looked at, from wherever on."""
        data = b"abc"
        buffer = holding(data)
        for at in range(3):
            window = buffer.window(1)
            assert window[0] is data
            assert window[1] == at
            buffer.skip(1)

    def test_nothing_is_left_of_pieces_that_were_taken(self) -> None:
        """Of two that were kept as they came."""
        buffer = holding(bytes(5000))
        buffer.feed(bytes(5000))
        assert buffer.take(10_000) == bytes(10_000)
        assert buffer.piece() == (b"", 0)
