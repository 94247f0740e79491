"""One mouth and one hand: the runtime's end of a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Ask,
    BufferedResponse,
    ConnectionClosed,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
)
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._runtime import RuntimeConnection, RuntimeEvent
from lambda_wire._signals import Signal
from lambda_wire.testing import deliveries

MAX_PAYLOAD: Final = 64
"""Small, so that a fuzzer reaches it."""

ASKS: Final[tuple[Ask, ...]] = (
    NextAsked(),
    BufferedResponse(request_id="id", payload=b"{}"),
    ResponseStarted(request_id="id"),
    ResponseChunk(data=b"x"),
    ResponseFinished(),
    ResponseFailed(error_type="Function.E", error_body=b"{}"),
    ErrorReported(request_id="id", error_type="Function.E", payload=b"{}"),
    InitErrorReported(error_type="Runtime.E", payload=b"{}"),
    RestoreAsked(),
    RestoreErrorReported(error_type="Runtime.E", payload=b"{}"),
    PingAsked(),
)
"""One of each kind."""

#: What was heard, the state of the environment, and the fault.
Story = tuple[list[RuntimeEvent], str, str]


def idle(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection that has asked nothing."""
    return RuntimeConnection(host="a", lifecycle=lifecycle, max_payload=MAX_PAYLOAD)


def polling(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection that waits for an invocation."""
    return _having_said(lifecycle, NextAsked())


def reporting(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection that waits for its response to be accepted."""
    _invoke(lifecycle)
    return _having_said(lifecycle, BufferedResponse(request_id="id", payload=b"{}"))


def streaming(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection in the middle of a streamed response."""
    _invoke(lifecycle)
    return _having_said(lifecycle, ResponseStarted(request_id="id"))


def pinging(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection that waits for a pong."""
    return _having_said(lifecycle, PingAsked())


def restoring(lifecycle: StandardLifecycle) -> RuntimeConnection:
    """Return a connection that waits to be restored."""
    return _having_said(lifecycle, RestoreAsked())


SITUATIONS: Final = (idle, polling, reporting, streaming, pinging, restoring)


def one_input(data: bytes) -> None:
    """In every situation the same bytes tell the same story however they are delivered.

    Only ``RemoteProtocolError`` leaves, and it is for ever: nothing more can be sent. A refused send changes nothing.
    """
    for situation in SITUATIONS:
        stories = [tell(situation, pieces) for pieces in deliveries(data)]
        assert all(story == stories[0] for story in stories)


def tell(situation: Callable[[StandardLifecycle], RuntimeConnection], pieces: list[bytes]) -> Story:
    """Return what comes of one delivery that then ends."""
    lifecycle = StandardLifecycle(snap_start=True)
    runtime = situation(lifecycle)
    heard: list[RuntimeEvent] = []
    try:
        for data in (*pieces, b""):
            runtime.receive_data(data)
            while not isinstance(event := runtime.next_event(), Signal):
                heard.append(event)
                if isinstance(event, ConnectionClosed):
                    break
    except RemoteProtocolError as fault:
        reason = str(fault)
    else:
        reason = ""
        assert heard[-1] == ConnectionClosed()
    assert_silenced(runtime, lifecycle)
    runtime.receive_data(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    assert _fault(runtime) == reason
    return heard, lifecycle.state.value, reason


def assert_silenced(runtime: RuntimeConnection, lifecycle: StandardLifecycle) -> None:
    """See that nothing may be sent any more, and that trying changed nothing."""
    before = runtime.turn, runtime.must_close, lifecycle.state, lifecycle.request_id
    assert runtime.must_close
    assert not runtime.awaits(NextAsked)
    for ask in ASKS:
        try:
            runtime.send(ask)
        except LocalProtocolError:
            continue
        raise AssertionError(f"{ask!r} was sent")
    assert (runtime.turn, runtime.must_close, lifecycle.state, lifecycle.request_id) == before


def _invoke(lifecycle: StandardLifecycle) -> None:
    lifecycle.asked(NextAsked, "")
    lifecycle.invoked(Invocation(request_id="id", payload=b"{}"))


def _having_said(lifecycle: StandardLifecycle, ask: Ask) -> RuntimeConnection:
    runtime = idle(lifecycle)
    runtime.send(ask)
    return runtime


def _fault(runtime: RuntimeConnection) -> str:
    try:
        assert runtime.next_event() == ConnectionClosed()
    except RemoteProtocolError as fault:
        return str(fault)
    return ""
