"""One mouth and one hand: the service's end of Invoke and InvokeWithResponseStream."""

from __future__ import annotations

from typing import Final, TypeAlias

from lambda_wire._errors import LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed, Continue, ContinueAsked, Refused
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    InvokeViolation,
    PayloadChunk,
)
from lambda_wire._invoke_service import InvokeServiceConnection, InvokeServiceEvent
from lambda_wire._signals import Signal
from lambda_wire.testing import deliveries

MAX_PAYLOAD: Final = 16
"""Small, so that a fuzzer reaches it."""

Sent: TypeAlias = InvokeAnswer | Refused | Continue

ANSWERED: Final = InvokeAnswered(payload=b"[]")
ACCEPTED: Final = InvokeAccepted(request_id="id")
CHUNK: Final = PayloadChunk(payload=b"x")
COMPLETE: Final = InvokeComplete()
FAILED: Final = InvokeFailed(error_code="E")
REFUSED: Final = InvokeRefused(status=429, error_type="TooManyRequestsException")
#: What a service can say, but for refusals, which always answer.
NO_REFUSALS: Final[tuple[Sent, ...]] = (ANSWERED, ACCEPTED, CHUNK, COMPLETE, FAILED, Continue())

#: What was heard, what was answered, and the fault with its reply.
Story = tuple[list[InvokeServiceEvent], bytes, str, Refused | None]


def one_input(data: bytes) -> None:
    """The same bytes tell the same story however they are delivered: same events, answers, fault and offset.

    Only ``RemoteProtocolError`` leaves; it is for ever, it brings a reply, and that is sent once. A refused send
    changes nothing.
    """
    stories = [tell(pieces) for pieces in deliveries(data)]
    assert all(story == stories[0] for story in stories)


def tell(pieces: list[bytes]) -> Story:
    """Return what comes of one delivery that then ends, when everything is answered."""
    service = InvokeServiceConnection(max_payload=MAX_PAYLOAD)
    heard: list[InvokeServiceEvent] = []
    said = bytearray()
    try:
        for data in (*pieces, b""):
            service.receive_data(data)
            while not isinstance(event := service.next_event(), (Signal, ConnectionClosed)):
                heard.append(event)
                said += _answer(service, event)
                assert_refused(service, CHUNK, COMPLETE, FAILED)
    except RemoteProtocolError as fault:
        assert service.must_close
        said += _last_word(service, fault)
        return heard, bytes(said), str(fault), fault.reply
    assert_refused(service, *NO_REFUSALS)
    return heard, bytes(said), "", None


def _answer(service: InvokeServiceConnection, event: InvokeServiceEvent) -> bytes:
    match event:
        case InvokeAsked(streaming=True):
            assert_refused(service, ANSWERED, CHUNK, COMPLETE, FAILED, Continue())
            said = service.send(ACCEPTED)
            assert_refused(service, ANSWERED, ACCEPTED, REFUSED, Refused(status=500), Continue())
            return said + service.send(CHUNK) + service.send(COMPLETE)
        case InvokeAsked():
            assert_refused(service, ACCEPTED, CHUNK, COMPLETE, FAILED, Continue())
            return service.send(ANSWERED)
        case InvokeViolation():
            assert_refused(service, *NO_REFUSALS)
            return service.send(event.reply)
        case ContinueAsked():
            assert_refused(service, ANSWERED, ACCEPTED, CHUNK, COMPLETE, FAILED)
            said = service.send(Continue())
            assert_refused(service, Continue())
            return said
        case _:
            assert_refused(service, *NO_REFUSALS)
            return service.send(REFUSED)


def _last_word(service: InvokeServiceConnection, fault: RemoteProtocolError) -> bytes:
    reply = fault.reply
    assert reply is not None
    assert_refused(service, *NO_REFUSALS)
    said = service.send(reply)
    assert_refused(service, *NO_REFUSALS, reply, REFUSED)
    service.receive_data(b"POST /2015-03-31/functions/f/invocations HTTP/1.1\r\nHost: a\r\n\r\n")
    assert _fault(service) == str(fault)
    return said


def assert_refused(service: InvokeServiceConnection, *answers: Sent) -> None:
    """See that none of these may be sent now, and that trying changed nothing."""
    before = service.turn, service.must_close
    for answer in answers:
        try:
            service.send(answer)
        except LocalProtocolError:
            assert (service.turn, service.must_close) == before
        else:
            raise AssertionError(f"{answer!r} was sent while the connection was {before}")


def _fault(service: InvokeServiceConnection) -> str:
    try:
        return f"no fault but {service.next_event()!r}"
    except RemoteProtocolError as fault:
        return str(fault)
