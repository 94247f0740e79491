"""The caller's end of Invoke and InvokeWithResponseStream, on one connection.

``send`` calls a function; ``next_event`` says what the service answers, as it arrives. Once a response is complete,
read on until ``awaiting_answer`` is false: then the connection can carry another call. Signing is not done here:
whoever calls puts what his signer made among the other fields of ``InvokeAsked``.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

from lambda_wire import _limits as limits
from lambda_wire import _names as names
from lambda_wire._errors import LocalProtocolError
from lambda_wire._event_stream import EventStreamDecoder, EventStreamHeader
from lambda_wire._events import ConnectionClosed
from lambda_wire._fields import require_host
from lambda_wire._heads import USER_AGENT, encode_request_head, field_value
from lambda_wire._invoke_answers import decode_accepted, decode_answered, decode_message, decode_refusal
from lambda_wire._invoke_asks import encode_invoke, invoke_target
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    PayloadChunk,
)
from lambda_wire._malformed import Malformed, quote
from lambda_wire._messages import MessageEnd, ResponseHead
from lambda_wire._signals import NEED_DATA, Role, Signal
from lambda_wire._state import Act
from lambda_wire._turns import ClientRole
from lambda_wire._types import BytesLike, Headers

__all__ = ["InvokeConnection", "InvokeEvent"]

InvokeEvent: TypeAlias = (
    InvokeAnswered | InvokeAccepted | PayloadChunk | InvokeComplete | InvokeFailed | InvokeRefused | ConnectionClosed
)


class InvokeConnection(ClientRole[InvokeAsked, InvokeEvent]):
    """The caller's end of one TCP connection to the service.

    Args:
        host: What the ``Host`` field says, such as ``127.0.0.1:9000``.
        user_agent: What the ``User-Agent`` field says.
        max_payload: Largest whole answer in bytes. A streamed one has no limit, nor has a part of it.

    Raises:
        Malformed: ``host`` is none.
    """

    def __init__(self, *, host: str, user_agent: str = USER_AGENT, max_payload: int = limits.MAX_EVENT) -> None:
        require_host(host)
        super().__init__("service")
        self._common: Headers = ((names.HOST, host), (names.USER_AGENT, user_agent))
        self._max_payload = max_payload
        self._streaming = False
        self._messages: EventStreamDecoder | None = None
        """Of the answer that is streamed; ``None`` when the answer is whole."""
        self._content_type = ""
        """What it says that it is."""
        self._heard = False
        """Whether any message of it was read."""
        self._complete = False
        self._chunk_headers: tuple[EventStreamHeader, ...] | None = None
        """Of the last chunk: most messages have the same, and what they say need not be read again."""

    # -- out

    def request(self, event: InvokeAsked) -> tuple[str, str, Headers]:
        """Return method, target and fields of the request that says ``event``: what a signer signs.

        Raises:
            Malformed: It cannot be said on this wire.
        """
        return "POST", invoke_target(event), (*self._common, *encode_invoke(event))

    def send_buffers(self, event: InvokeAsked) -> list[BytesLike]:
        """Return what ``send`` returns, as buffers to be written in order: the payload is not copied.

        Raises:
            LocalProtocolError: It may not be called now. Nothing changed.
            Malformed: It cannot be said on this wire. Nothing changed.
        """
        if type(event) is not InvokeAsked:
            raise LocalProtocolError(f"{type(event).__name__} may not be sent by a caller")
        self._require(Act.REQUEST_STARTED, "InvokeAsked")
        method, target, fields = self.request(event)
        head = encode_request_head(method, target, fields)
        self._streaming = event.streaming
        self._start_request(method, whole=True)
        return [head, event.payload] if event.payload else [head]

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it. Whether the function runs stays unknown."""
        self._messages = None
        super().abandon()

    # -- in

    def next_event(self) -> InvokeEvent | Signal:
        """Return what the service said next, or a signal.

        Raises:
            RemoteProtocolError: It said what it may not. Every later call raises it again.
        """
        self._check()
        try:
            while True:
                event = self._next_message() or self._read_on()
                if event is not None:
                    return event
        except Malformed as fault:
            raise self._accuse(self._explained(fault)) from fault

    def _explained(self, fault: Malformed) -> Malformed:
        """Return the fault; where not even a first message could be read, with what the answer says that it is."""
        kind = self._content_type.partition(";")[0].rstrip().lower()  # RFC 9110, 8.3.1
        if self._messages is None or self._heard or kind == names.EVENT_STREAM:
            return fault
        reason = f"expected {names.EVENT_STREAM}, got {quote(self._content_type)}: {fault.reason}"
        return Malformed(reason, at=fault.at)

    def _read_on(self) -> InvokeEvent | Signal | None:
        """Read one part of the answer; ``None`` when that alone is no event."""
        part = self._next_part()
        match part:
            case bytes():
                assert self._messages is not None  # any other body is collected
                self._messages.feed(part)
                return None
            case ResponseHead():
                return self._take_head(part)
            case MessageEnd():
                return self._take_end(part.body)
            case Signal() | ConnectionClosed():
                return part
            case _ as never:
                assert_never(never)

    def _take_head(self, head: ResponseHead) -> InvokeAccepted | None:
        self._content_type = field_value(head.headers, names.CONTENT_TYPE.lower())
        self._heard = self._complete = False
        if not (self._streaming and 200 <= head.status <= 299):
            self._messages = None
            self._collect(self._max_payload)
            return None
        self._messages = EventStreamDecoder(Role.CLIENT)
        return decode_accepted(head)

    def _next_message(self) -> PayloadChunk | InvokeComplete | InvokeFailed | None:
        while self._messages is not None and (message := self._messages.next_message()) is not NEED_DATA:
            if message.headers is self._chunk_headers and not self._complete:
                return PayloadChunk(payload=message.payload)
            self._heard = True
            event = decode_message(message)
            if event is None:
                continue
            if self._complete:
                reason = f"expected nothing after the end of the response, got {type(event).__name__}"
                raise Malformed(reason, rule="ES-MESSAGE-14")
            if isinstance(event, PayloadChunk):
                self._chunk_headers = message.headers
            else:
                self._complete = True
            return event
        return None

    def _take_end(self, body: bytes) -> InvokeAnswered | InvokeRefused | None:
        if self._messages is None:
            if 200 <= self._head.status <= 299:
                return decode_answered(self._head, body)
            return decode_refusal(self._head, body)
        self._messages.feed(b"")
        self._messages.next_message()
        if not self._complete:
            raise Malformed("expected InvokeComplete before the end of the response", rule="ES-MESSAGE-12")
        self._messages = None
        return None
