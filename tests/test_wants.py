"""What a conversation may want of its driver: four things, and a driver that obeys them can run any conversation."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write


def test_there_are_four_wants() -> None:
    """The union is closed: a driver that knows these knows all."""
    assert set(get_args(Want)) == {Dial, Write, Read, Hangup}


@pytest.mark.parametrize(("want", "same"), [(Dial(), Dial()), (Read(), Read()), (Hangup(), Hangup())])
def test_a_want_is_a_value(want: Want, same: Want) -> None:
    """Equal by what it says, and it cannot be changed on its way to the driver."""
    assert want == same
    assert hash(want) == hash(same)
    with pytest.raises(AttributeError, match="frozen"):
        want.anything = 1  # type: ignore[union-attr]  # what the test is about


def test_a_read_is_bounded() -> None:
    """No read without a limit."""
    assert Read().max_bytes == 65_536
    assert Read(max_bytes=1) != Read()


def test_a_write_does_not_show_its_payload() -> None:
    """A logged want must not be megabytes of somebody's data."""
    assert repr(Write([b"secret" * 1000])) == "Write(done=False, look_first=False)"


@given(st.lists(st.binary(max_size=5), max_size=6), st.integers(1, 4), st.lists(st.integers(0, 7), min_size=40))
def test_what_is_to_be_written_goes_out_once_and_in_order(buffers: list[bytes], most: int, steps: list[int]) -> None:
    """However much each write takes, of however many buffers at a time."""
    want, written = Write(buffers), b""
    for step in [*steps, *[100] * 10]:
        ready = b"".join(want.next_buffers(most))
        assert want.done is not bool(ready)
        written += ready[:step]
        want.advance(min(step, len(ready)))
    assert want.done
    assert written == b"".join(buffers)


def converse() -> Exchange[bytes]:
    """A whole conversation: dial, say, hear, hang up."""
    yield Dial()
    early = yield Write((b"ping", bytearray(b"!")), look_first=True)
    heard = b"" if early else (yield Read(max_bytes=3))
    yield Hangup()
    return bytes(early) + bytes(heard)


class Peer:
    """The smallest driver: it answers wants from a list, and notes what was written."""

    def __init__(self, early: bytes, data: bytes) -> None:
        self.early, self.data, self.written, self.open = early, data, b"", False

    def answer(self, want: Want) -> bytes:
        match want:
            case Dial():
                self.open = True
            case Write():
                if want.look_first and self.early:
                    return self.early
                self.written += b"".join(want.next_buffers(10))
            case Read():
                return self.data[: want.max_bytes]
            case Hangup():
                self.open = False
        return b""


def run(exchange: Exchange[bytes], peer: Peer) -> bytes:
    want = next(exchange)
    while True:
        try:
            want = exchange.send(peer.answer(want))
        except StopIteration as end:
            answer: bytes = end.value
            return answer


@pytest.mark.parametrize(("early", "answer"), [(b"", b"pon"), (b"no", b"no")])
def test_a_conversation_is_a_generator_of_wants(early: bytes, answer: bytes) -> None:
    """A driver sends each answer in and gets the result when it ends."""
    peer = Peer(early, b"pong")
    assert run(converse(), peer) == answer
    assert (peer.written, peer.open) == (b"" if early else b"ping!", False)
