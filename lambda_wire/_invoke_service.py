"""The service's end of Invoke and InvokeWithResponseStream, on one connection of a caller.

``next_event`` says what is asked; ``send`` answers it. What cannot be called comes as an ``InvokeViolation`` with its
reply. A request for what is no Invoke comes whole, as ``OtherAsked``, and is answered in plain HTTP through ``turns``.
"""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._errors import LocalProtocolError
from lambda_wire._event_stream import event_stream_buffers
from lambda_wire._events import ConnectionClosed, Continue, ContinueAsked, Refused
from lambda_wire._heads import encode_response_head, field_value, reason_phrase
from lambda_wire._invoke_answers import encode_accepted, encode_answered, encode_message, encode_refusal
from lambda_wire._invoke_asks import InvokeTarget, decode_invoke, find_invoke, too_large, too_large_for_url
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswer,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    InvokeViolation,
    OtherAsked,
    PayloadChunk,
)
from lambda_wire._malformed import Malformed
from lambda_wire._messages import MessageEnd, RequestHead
from lambda_wire._server_turns import ServerRole, ServerTurns, status_of
from lambda_wire._signals import PAUSED, Signal
from lambda_wire._state import Act, Turn
from lambda_wire._types import BytesLike, Headers
from lambda_wire._whole_body import WholeBody

__all__ = ["InvokeServiceConnection", "InvokeServiceEvent"]

InvokeServiceEvent: TypeAlias = InvokeAsked | OtherAsked | ContinueAsked | InvokeViolation | ConnectionClosed

_CONTENT_LENGTH: Final = names.CONTENT_LENGTH.lower()
_CONTENT_TYPE: Final = names.CONTENT_TYPE.lower()


class InvokeServiceConnection(ServerRole[InvokeRefused]):
    """The service's end of one TCP connection from a caller.

    Args:
        max_payload: Largest event in bytes.

    Attributes:
        turns: The connection itself, for who answers an ``OtherAsked``.
    """

    def __init__(self, *, max_payload: int = limits.MAX_INVOKE_EVENT) -> None:
        self.turns: ServerTurns = ServerTurns("caller")
        super().__init__(self.turns)
        self._max_payload = max_payload
        self._begin(None)

    def _begin(self, target: InvokeTarget | None) -> None:
        """Forget the request before."""
        self._target = target
        self._asked: InvokeAsked | None = None
        self._refusal = None
        self._body = WholeBody(self._max_payload, "a request")
        self._size = 0
        self._streaming = False
        """Whether a streamed answer is under way."""

    # -- in

    def next_event(self) -> InvokeServiceEvent | Signal:
        """Return what the caller said next, or a signal: ``PAUSED`` while an answer is due before more is read.

        Raises:
            RemoteProtocolError: It is not HTTP. Every later call raises it again; its ``reply`` may be sent once.
        """
        self.turns.check()
        try:
            return self._next_event()
        except Malformed as fault:
            status = status_of(fault)
            message = f"{status} {reason_phrase(status)}: {fault}"
            raise self.turns.accuse(fault, reply=Refused(status=status, error_message=message)) from fault

    def _next_event(self) -> InvokeServiceEvent | Signal:
        while True:
            event: InvokeServiceEvent | None
            part = self.turns.next_part()
            match part:
                case Signal():
                    return part
                case RequestHead():
                    event = self._take_head(part)
                case bytes():
                    event = self._take_body(part)
                case MessageEnd():
                    event = self._take_end()
                case ConnectionClosed():
                    if self.turn in (Turn.AWAITING, Turn.ANSWERING):
                        return PAUSED  # it has only ended its half, and waits for its answer
                    self.abandon()
                    return part
                case _ as never:
                    assert_never(never)
            if event is not None:
                return event

    def _take_head(self, head: RequestHead) -> InvokeServiceEvent | None:
        self._begin(find_invoke(head.target))
        length = field_value(head.headers, _CONTENT_LENGTH)
        if length and int(length) > self._max_payload:
            self._refuse()
        if not head.expects_continue:
            return None
        if self._refusal is not None:  # a body that would be refused is never asked for
            return self._violation(self._refusal)
        return ContinueAsked()

    def _refuse(self) -> None:
        self._refusal = (too_large_for_url if self._target is None else too_large)(self._max_payload)
        self._body.drop()

    def _violation(self, refusal: InvokeRefused) -> InvokeViolation:
        if self.turn is Turn.SENDING:
            self.turns.move(Act.REQUEST_ENDED)  # no more of it is read
        self._refusal = refusal
        return InvokeViolation(reply=refusal)

    def _take_body(self, piece: bytes) -> InvokeViolation | None:
        self._size += len(piece)
        if self._refusal is None and self._size > self._max_payload:
            self._refuse()
        if self._refusal is None:
            self._body.add(piece)
        elif self._size > self._max_payload + limits.MAX_PAYLOAD:
            return self._violation(self._refusal)
        return None  # a body that is too large is read on: who only reads after he wrote is to hear of it

    def _take_end(self) -> InvokeAsked | OtherAsked | InvokeViolation:
        if self._refusal is not None:
            return self._violation(self._refusal)
        head, body = self.turns.head, self._body.take()
        if self._target is None:
            return OtherAsked(
                method=head.method,
                target=head.target,
                headers=head.headers,
                body=body,
                http_version=head.http_version,
            )
        asked = decode_invoke(self._target, head.method, head.headers, body)
        if isinstance(asked, InvokeRefused):
            return self._violation(asked)
        self._asked = asked
        return asked

    # -- out

    def send(self, answer: InvokeAnswer | Refused | Continue, *, date: str = "") -> bytes:
        """Return the bytes that say ``answer``.

        Args:
            answer: What to say.
            date: For the ``Date`` field of a head (RFC 9110, 6.6.1); none when empty.

        Raises:
            LocalProtocolError: It may not be said now, or does not answer what was asked. Nothing changed.
            Malformed: It cannot be said on this wire. Nothing changed.
        """
        return b"".join(self.send_buffers(answer, date=date))

    def send_buffers(self, answer: InvokeAnswer | Refused | Continue, *, date: str = "") -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: a payload is not copied.

        Raises:
            LocalProtocolError: It may not be said now, or does not answer what was asked. Nothing changed.
            Malformed: It cannot be said on this wire. Nothing changed.
        """
        match answer:
            case Continue():
                self._continue()
                return [encode_response_head(100)]
            case PayloadChunk() | InvokeComplete() | InvokeFailed():
                return self._send_message(answer)
            case InvokeAccepted():
                self._require(answer, streaming=True)
                buffers = self.start_answer(200, encode_accepted(answer), None, date=date)
                self._streaming = True
                return buffers
            case InvokeAnswered():
                self._require(answer, streaming=False)
                return self._whole(answer.status, encode_answered(answer), answer.payload, date)
            case InvokeRefused():
                self._require(answer, streaming=None)
                fields, document = encode_refusal(answer)
                return self._whole(answer.status, fields, document, date)
            case Refused():
                self._require(answer, streaming=None)
                body = f"{answer.error_message}\n".encode()
                return self._whole(answer.status, ((names.CONTENT_TYPE, names.PLAIN_TEXT),), body, date)
            case _:
                raise LocalProtocolError(f"{type(answer).__name__} may not be sent by a service")

    def _require(self, answer: InvokeAnswer | Refused, *, streaming: bool | None) -> None:
        """Refuse what does not answer what was asked; a refusal answers every request, and one that is not HTTP."""
        what = type(answer).__name__
        self.turns.require(Act.ANSWER_STARTED, what)
        if self.turn is Turn.IDLE and not self.must_close:
            raise LocalProtocolError(f"{what} answers nothing: no request is open")
        if self._refusal is not None and streaming is not None:
            raise LocalProtocolError(f"expected the refusal {self._refusal!r} to be sent, got {what}")
        if streaming is not None and (self._asked is None or self._asked.streaming is not streaming):
            raise LocalProtocolError(f"{what} does not answer what was asked: {self._asked!r}")

    def start_answer(
        self, status: int, fields: Headers, size: int | None, *, date: str = "", reason: str = ""
    ) -> list[BytesLike]:
        """Return the head of an answer in plain HTTP; its body goes through ``turns``.

        Fields leave in AWS's order: date, content type, framing, connection, everything else (recorded 2026-09).

        Args:
            status: Of the answer.
            fields: What else the head says.
            size: Of the body in bytes; ``None`` when it is not known.
            date: For the ``Date`` field; none when empty.
            reason: The words for the status; those that are known when empty.

        Raises:
            LocalProtocolError: No answer is due. Nothing changed.
            Malformed: A field cannot be sent. Nothing changed.
        """
        self.turns.require(Act.ANSWER_STARTED, "an answer")
        framing = self.turns.framing(status, size)
        connection = (names.CONNECTION, self.turns.connection(last=framing.last, always=True))
        dates = ((names.DATE, date),) if date else ()
        types = tuple((names.CONTENT_TYPE, value) for name, value in fields if name.lower() == _CONTENT_TYPE)
        others = tuple(pair for pair in fields if pair[0].lower() != _CONTENT_TYPE)
        head = encode_response_head(status, (*dates, *types, *framing.fields, connection, *others), reason=reason)
        self.turns.start_answer(framing)
        return [head]

    def _whole(self, status: int, fields: Headers, body: bytes, date: str) -> list[BytesLike]:
        buffers = self.start_answer(status, fields, len(body), date=date)
        buffers += self.turns.part_buffers(body)
        buffers += self.turns.end_answer()
        self._begin(None)
        return buffers

    def _send_message(self, event: PayloadChunk | InvokeComplete | InvokeFailed) -> list[BytesLike]:
        what = type(event).__name__
        self.turns.require(Act.ANSWER_PART, what)
        if not self._streaming:
            raise LocalProtocolError(f"{what} may only follow InvokeAccepted")
        buffers = self.turns.part_buffers(*event_stream_buffers(encode_message(event)))
        if not isinstance(event, PayloadChunk):
            buffers += self.turns.end_answer()
            self._begin(None)
        return buffers
