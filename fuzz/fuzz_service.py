"""One mouth and one hand: the service's end of a connection."""

from __future__ import annotations

from typing import Final

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import (
    Accepted,
    Answer,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseFailed,
    ResponseFinished,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    Violation,
)
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import Signal
from lambda_wire.testing import deliveries

INVOCATION: Final = Invocation(request_id="id", payload=b"{}")
#: Small, so that a fuzzer reaches them.
MAX_PAYLOAD: Final = 16
MAX_STREAM: Final = 32

_ANSWER_TO: Final[dict[type, Answer]] = {
    NextAsked: INVOCATION,
    PingAsked: Pong(),
    RestoreAsked: RestoreReady(),
    ContinueAsked: Continue(),
    BufferedResponse: Accepted(),
    ResponseFinished: Accepted(),
    ResponseFailed: Accepted(),
    ErrorReported: Accepted(),
    InitErrorReported: Accepted(),
    RestoreErrorReported: Accepted(),
}
_ALL: Final[tuple[Answer, ...]] = (INVOCATION, Accepted(), RestoreReady(), Pong(), Continue())

#: What was heard, what was answered, the state of the environment, and the fault with its reply.
Story = tuple[list[ServiceEvent], bytes, str, str, Refused | None]


def one_input(data: bytes) -> None:
    """The same bytes tell the same story however they are delivered: same events, answers, state, fault and offset.

    Only ``RemoteProtocolError`` leaves; it is for ever, it brings a reply, and that is sent once. A refused send
    changes nothing.
    """
    stories = [tell(pieces) for pieces in deliveries(data)]
    assert all(story == stories[0] for story in stories)


def tell(pieces: list[bytes]) -> Story:
    """Return what comes of one delivery that then ends, when everything that may be answered is."""
    lifecycle = StandardLifecycle(snap_start=True)
    service = ServiceConnection(lifecycle, max_payload=MAX_PAYLOAD, max_stream=MAX_STREAM)
    heard: list[ServiceEvent] = []
    said = bytearray()
    try:
        for data in (*pieces, b""):
            service.receive_data(data)
            while not isinstance(event := service.next_event(), (Signal, ConnectionClosed)):
                heard.append(event)
                said += _answer(service, event)
    except RemoteProtocolError as fault:
        assert service.must_close
        said += _last_word(service, fault)
        return heard, bytes(said), lifecycle.state.value, str(fault), fault.reply
    return heard, bytes(said), lifecycle.state.value, "", None


def _last_word(service: ServiceConnection, fault: RemoteProtocolError) -> bytes:
    reply = fault.reply
    assert reply is not None
    assert_refused(service, *_ALL)
    said = service.send(reply)
    assert_refused(service, *_ALL, reply)
    service.receive_data(b"GET /2018-06-01/ping HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _fault(service) == str(fault)
    return said


def _answer(service: ServiceConnection, event: ServiceEvent) -> bytes:
    answer = event.reply if isinstance(event, Violation) else _ANSWER_TO.get(type(event))
    assert_refused(service, *(other for other in _ALL if type(other) is not type(answer)), allowed=(Accepted,))
    if answer is None:  # a part of a stream
        return b""
    return service.send(answer)


def assert_refused(service: ServiceConnection, *answers: Answer, allowed: tuple[type, ...] = ()) -> None:
    """See that none of these may be sent now, and that trying changed nothing."""
    before = service.turn, service.must_close
    for answer in answers:
        if type(answer) in allowed:
            continue
        try:
            service.send(answer)
        except (LocalProtocolError, Malformed):
            assert (service.turn, service.must_close) == before
        else:
            raise AssertionError(f"{answer!r} was sent while the connection was {before}")


def _fault(service: ServiceConnection) -> str:
    try:
        return f"no fault but {service.next_event()!r}"
    except RemoteProtocolError as fault:
        return str(fault)
