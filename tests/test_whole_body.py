"""A body that is collected: the pieces joined, never copied twice, and nobody's but its reader's once it was given."""

from __future__ import annotations

import gc
import sys
import tracemalloc

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambda_wire._malformed import Malformed
from lambda_wire._whole_body import WholeBody, _Memory

LARGE = 65_536
"""From how many bytes on a piece gets memory of its own."""
PATTERN = bytes(range(251)) * 1200


def new(limit: int = 1 << 30) -> WholeBody:
    return WholeBody(limit, "an answer")


def lent(whole: WholeBody) -> memoryview:
    """Return what is lent, which there is."""
    buffer = whole.receive_buffer
    assert buffer is not None
    return buffer


def receive(whole: WholeBody, data: bytes, *, there: bool) -> bytes:
    """Give ``data``, received into what is lent or somewhere else; return what does not belong there."""
    if not there:
        return bytes(whole.receive(data))
    buffer = lent(whole)
    count = min(len(data), len(buffer))
    buffer[:count] = data[:count]
    assert whole.receive(buffer[:count]) == b""
    return data[count:]


class TestLimit:
    """What is announced is refused before it comes."""

    def test_of_the_limit(self) -> None:
        """What came counts, however it came; so much and no more."""
        whole = new(LARGE + 10)
        whole.announce(LARGE + 10)
        whole.add(b"ab")
        whole.announce(LARGE + 8)
        with pytest.raises(Malformed, match=f"^expected an answer of at most {LARGE + 10} bytes, got more$") as caught:
            whole.announce(LARGE + 9)
        assert caught.value.at is None
        whole.add(b"c", LARGE)
        receive(whole, b"x" * 7, there=True)
        receive(whole, b"x" * 7, there=False)
        whole.announce(LARGE - 7)
        with pytest.raises(Malformed, match="got more"):
            whole.announce(LARGE - 6)

    def test_nothing_is_within_every_limit(self) -> None:
        """A body may be empty."""
        whole = new(0)
        whole.announce(0)
        assert (whole.take(), whole.size) == (b"", 0)


class TestMemory:
    """Memory of its own for what is large and announced, which drivers may receive into."""

    @pytest.mark.parametrize(("left", "is_lent"), [(0, False), (1, False), (LARGE - 1, False), (LARGE, True)])
    def test_only_for_what_is_large(self, left: int, is_lent: bool) -> None:
        """Everything else is to be looked at first."""
        whole = new()
        assert whole.receive_buffer is None
        whole.add(b"abc", left)
        assert (whole.receive_buffer is not None) is is_lent
        if is_lent:
            assert len(lent(whole)) == left

    @pytest.mark.parametrize("left", [(1 << 30) + 1, 1 << 65])
    def test_not_for_what_is_only_claimed(self, left: int) -> None:
        """A peer's word does not end a reader whose limit is none: what came is there, and nothing is lent."""
        whole = new(1 << 70)
        whole.announce(left + 3)
        whole.add(b"abc", left)
        assert whole.receive_buffer is None
        assert whole.take() == b"abc"

    @pytest.mark.parametrize("there", [True, False])
    def test_what_was_lent_is_released(self, there: bool) -> None:
        """After each piece, and after the last: none of it can be written to again."""
        whole = new()
        whole.add(b"", LARGE)
        for data in (b"x" * 10, PATTERN[: LARGE - 10]):
            before = lent(whole)
            assert receive(whole, data, there=there) == b""
            with pytest.raises(ValueError, match="released"):
                before[0] = 1
        assert whole.receive_buffer is None
        assert whole.take() == b"x" * 10 + PATTERN[: LARGE - 10]

    def test_the_whole_of_it_may_be_given(self) -> None:
        """The view that was lent, not only a part of it."""
        whole = new()
        whole.add(b"a", LARGE)
        lent(whole)[:] = PATTERN[:LARGE]
        assert whole.receive(lent(whole)) == b""
        assert whole.take() == b"a" + PATTERN[:LARGE]

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
    def test_what_does_not_belong_there_is_given_back(self, kind: type[bytes | bytearray | memoryview]) -> None:
        """Whatever kind it is of; what was not lent is not released."""
        whole = new()
        whole.add(b"", LARGE)
        data = kind(PATTERN[: LARGE + 3])
        assert bytes(whole.receive(data)) == PATTERN[LARGE : LARGE + 3]
        assert (whole.size, bytes(data)) == (LARGE, PATTERN[: LARGE + 3])
        assert whole.take() == PATTERN[:LARGE]

    @pytest.mark.parametrize(
        "data",
        [
            memoryview(PATTERN[:80]).cast("I"),
            memoryview(PATTERN[:80]).cast("c"),
            memoryview(PATTERN[:80]).cast("b"),
            memoryview(PATTERN[:80]).cast("B", (8, 10)),
            memoryview(bytes(byte for each in PATTERN[:80] for byte in (each, 0)))[::2],
        ],
    )
    def test_bytes_are_counted_and_not_items(self, data: memoryview) -> None:
        """A memoryview's length may be of wider items, and its bytes need not lie together."""
        whole = new()
        whole.add(b"", LARGE)
        assert whole.receive(data) == b""
        assert (whole.size, len(lent(whole))) == (80, LARGE - 80)
        whole.receive(bytes(LARGE - 80))
        assert whole.take()[:80] == PATTERN[:80]

    def test_a_view_that_is_still_held_changes_nothing(self) -> None:
        """Not even a part of what was lent that was kept against the rules: the body is a copy then."""
        whole = new()
        whole.add(b"", LARGE)
        kept = lent(whole)[:5]
        whole.receive(PATTERN[:LARGE])
        body = whole.take()
        kept[:] = b"wrong"
        assert body == PATTERN[:LARGE]

    def test_memory_is_not_lent_again(self) -> None:
        """What is received for a second piece, or a second body, leaves what was given alone."""
        whole = new()
        bodies: list[bytes] = []
        for fill in (b"a", b"b", b"c"):
            for _ in range(2 if fill == b"b" else 1):
                whole.add(fill, LARGE)
                lent(whole)[:] = fill * LARGE
                whole.receive(lent(whole))
            bodies.append(whole.take())
        assert bodies == [b"a" * (LARGE + 1), b"b" * (2 * LARGE + 2), b"c" * (LARGE + 1)]

    @pytest.mark.parametrize("there", [True, False])
    def test_its_memory_is_all_that_it_takes(self, there: bool) -> None:
        """One copy at every moment, however it came."""
        whole, size = new(), 4 << 20
        piece = bytes(LARGE)
        tracemalloc.start()
        try:
            whole.add(piece, size - LARGE)
            for _ in range(size // LARGE - 1):
                receive(whole, piece, there=there)
            body = whole.take()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert (type(body), len(body), whole.size) == (bytes, size, 0)
        assert peak < size + 8192


class TestInverse:
    """What is taken is what was added."""

    @given(
        parts=st.lists(st.tuples(st.integers(0, 90_000), st.integers(0, 90_000)), max_size=5),
        sizes=st.lists(st.sampled_from([1, 10, 999, 40_000, 70_000, 200_000]), min_size=1, max_size=6),
        there=st.lists(st.booleans(), min_size=1, max_size=6),
    )
    @example(parts=[(5, LARGE - 1), (5, LARGE), (5, LARGE + 1)], sizes=[70_000], there=[True, False])
    def test_pieces(self, parts: list[tuple[int, int]], sizes: list[int], there: list[bool]) -> None:
        """Small and large, received there, elsewhere, or by turns; more than belongs there is given back."""
        whole, expected, turn = new(), b"", 0
        for first, left in parts:
            whole.add(PATTERN[:first], left)
            expected += PATTERN[:first]
            rest = PATTERN[:left]
            if left < LARGE:
                assert whole.receive_buffer is None
                whole.add(rest)
            while whole.receive_buffer is not None:
                size = max(sizes[turn % len(sizes)], 1000 if turn > 40 else 1)
                over = receive(whole, rest[:size], there=there[turn % len(there)])
                assert over == b""
                rest, turn = rest[size:], turn + 1
            expected += PATTERN[:left]
            assert whole.size == len(expected)
        body = whole.take()
        assert (body, type(body)) == (expected, bytes)

    @given(pieces=st.lists(st.binary(max_size=9)))
    def test_small_pieces(self, pieces: list[bytes]) -> None:
        """However many."""
        whole = new()
        for piece in pieces:
            whole.add(piece)
        assert whole.take() == b"".join(pieces)

    def test_one_small_piece_is_not_copied(self) -> None:
        """It is the body."""
        whole = new()
        whole.add(piece := PATTERN[:999])
        assert whole.take() is piece

    def test_a_trickle_takes_no_more_than_its_bytes(self) -> None:
        """A piece has no price of its own, however small, and however many there are."""
        whole = new()
        tracemalloc.start()
        try:
            for at in range(100_000):
                whole.add(bytes((at % 256, 1)))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert len(whole.take()) == 200_000
        assert peak < 300_000


@pytest.mark.parametrize("lends", [False, True])
def test_what_is_left_in_the_middle_is_collected_without_a_word(lends: bool) -> None:
    """The garbage collector may close memory before the views that were lent of it; Python 3.13 reports what fails.

    CPython 3.12.1 crashed, or left a SystemError behind, when it found a view together with its memory.
    """
    body = WholeBody(1 << 20, "a body")
    body.add(b"begun", 1 << 19)
    cycle: list[object] = [body, body.receive_buffer] if lends else [body]
    cycle.append(cycle)
    said: list[object] = []
    before = sys.unraisablehook
    sys.unraisablehook = said.append
    try:
        del body, cycle
        gc.collect()
    finally:
        sys.unraisablehook = before
    assert said == []


def test_what_is_dropped_is_taken_back() -> None:
    """Whoever holds a view that was lent has nothing then: no collector finds it with its memory."""
    body = WholeBody(1 << 20, "a body")
    body.add(b"begun", 1 << 19)
    lent = body.receive_buffer
    assert lent is not None
    body.drop()
    assert body.receive_buffer is None
    with pytest.raises(ValueError, match="released"):
        len(lent)


def test_what_is_dropped_is_gone() -> None:
    """Nothing is left to be taken."""
    body = WholeBody(1 << 20, "a body")
    body.add(b"begun", 1 << 19)
    body.drop()
    assert body.take() == b""


def test_memory_that_is_lent_may_be_closed() -> None:
    """As a collector does; then it goes with the view."""
    memory = _Memory(b"abc")
    with memory.getbuffer() as view:
        memory.close()
        assert bytes(view) == b"abc"


@pytest.mark.parametrize("size", [1, LARGE])
def test_one_piece_is_not_copied(size: int) -> None:
    """It is given as the bytes that hold it."""
    body = new()
    body.add(bytes(size))
    body._close_memory()
    (piece,) = body._pieces
    assert body.take() is piece
