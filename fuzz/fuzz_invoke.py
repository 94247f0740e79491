"""One mouth and one hand: the caller's end of Invoke and InvokeWithResponseStream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed
from lambda_wire._invoke import InvokeConnection, InvokeEvent
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._signals import Signal
from lambda_wire.testing import deliveries

MAX_PAYLOAD: Final = 64
"""Small, so that a fuzzer reaches it."""

CALL: Final = InvokeAsked(function_name="f", payload=b"{}")
STREAMED: Final = InvokeAsked(function_name="f", payload=b"{}", streaming=True)

#: What was heard, and the fault.
Story = tuple[list[InvokeEvent], str]


def idle() -> InvokeConnection:
    """Return a connection that has asked nothing."""
    return InvokeConnection(host="a", max_payload=MAX_PAYLOAD)


def calling() -> InvokeConnection:
    """Return a connection that waits for a whole answer."""
    return _having_sent(CALL)


def streaming() -> InvokeConnection:
    """Return a connection that waits for a streamed answer."""
    return _having_sent(STREAMED)


def in_chunks() -> InvokeConnection:
    """Return a connection in the middle of a streamed answer, at the start of a chunk."""
    return _accepted(b"Transfer-Encoding: chunked")


def until_close() -> InvokeConnection:
    """Return a connection in the middle of a streamed answer that ends with its connection: bytes are messages."""
    return _accepted(b"Connection: close")


SITUATIONS: Final = (idle, calling, streaming, in_chunks, until_close)


def one_input(data: bytes) -> None:
    """In every situation the same bytes tell the same story however they are delivered.

    Only ``RemoteProtocolError`` leaves, and it is for ever: nothing more can be sent. A refused send changes nothing.
    An answer is whole, or accepted, any chunks and one end; only a refusal that nothing asked for may come after it,
    once, as when a server gives up an idle connection.
    """
    for situation in SITUATIONS:
        stories = [tell(situation, pieces) for pieces in deliveries(data)]
        assert all(story == stories[0] for story in stories)


def tell(situation: Callable[[], InvokeConnection], pieces: list[bytes]) -> Story:
    """Return what comes of one delivery that then ends."""
    caller = situation()
    heard: list[InvokeEvent] = []
    try:
        for data in (*pieces, b""):
            caller.receive_data(data)
            while not isinstance(event := caller.next_event(), Signal):
                heard.append(event)
                if isinstance(event, ConnectionClosed):
                    break
    except RemoteProtocolError as fault:
        reason = str(fault)
    else:
        reason = ""
        assert heard[-1] == ConnectionClosed()
    assert_one_answer(heard, accepted=situation in (in_chunks, until_close))
    assert_silenced(caller)
    caller.receive_data(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    assert _fault(caller) == reason
    return heard, reason


def assert_one_answer(heard: list[InvokeEvent], *, accepted: bool) -> None:
    """See that events come in the order in which they may."""
    complete = last = False
    for event in heard:
        assert not last or isinstance(event, ConnectionClosed)
        match event:
            case InvokeRefused() if complete:
                last = True
            case InvokeAnswered() | InvokeRefused():
                assert not accepted
                assert not complete
                complete = True
            case InvokeAccepted():
                assert not accepted
                accepted = True
            case PayloadChunk():
                assert accepted
                assert not complete
            case InvokeComplete() | InvokeFailed():
                assert accepted
                assert not complete
                complete = True
            case ConnectionClosed():
                assert event is heard[-1]


def assert_silenced(caller: InvokeConnection) -> None:
    """See that nothing may be sent any more, and that trying changed nothing."""
    before = caller.turn, caller.must_close
    assert caller.must_close
    assert not caller.awaiting_answer
    for call in (CALL, STREAMED):
        try:
            caller.send(call)
        except LocalProtocolError:
            continue
        raise AssertionError(f"{call!r} was sent")
    assert (caller.turn, caller.must_close) == before


def _having_sent(call: InvokeAsked) -> InvokeConnection:
    caller = idle()
    caller.send(call)
    return caller


def _accepted(framing: bytes) -> InvokeConnection:
    caller = streaming()
    caller.receive_data(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n")
    assert caller.next_event() == InvokeAccepted()
    return caller


def _fault(caller: InvokeConnection) -> str:
    try:
        assert caller.next_event() == ConnectionClosed()
    except RemoteProtocolError as fault:
        return str(fault)
    return ""
