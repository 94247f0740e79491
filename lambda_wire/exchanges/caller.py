"""The conversations of a caller with Lambda.

A call is sent once: when its connection ends before the answer is complete, whether the function ran is unknown and
stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from lambda_wire import _limits as limits
from lambda_wire._errors import CallFailed, CallRefused, ConnectionLost, LocalProtocolError, RemoteProtocolError
from lambda_wire._events import ConnectionClosed
from lambda_wire._fields import require_field_value
from lambda_wire._heads import USER_AGENT
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
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import replaced
from lambda_wire._types import Headers
from lambda_wire._wants import Exchange, Hangup
from lambda_wire.exchanges.session import LOOK, Session

__all__ = ["CallerSession", "OpenAnswer", "Sign", "drop_answer", "invoke", "next_chunk", "open_answer"]

Sign: TypeAlias = Callable[[str, str, Headers, bytes], Headers]
"""Given method, URL, header fields and payload of a request, returns the fields of the signed request.

What the request has already is not sent twice, and may not be changed.
"""


#: What may follow the last message of an answer: the last chunk and trailers.
_LONGEST_END: Final = len("0\r\n") + limits.MAX_TRAILERS


class CallerSession(Session[InvokeConnection]):
    """One caller, across the connections that it uses one after the other.

    Args:
        host: What the ``Host`` field says, such as ``127.0.0.1:9000``.
        scheme: ``http`` or ``https``: what a signer is told.
        sign: Signs each request; nothing is signed when not given.
        user_agent: What the ``User-Agent`` field says.

    Raises:
        Malformed: ``host`` is none, or ``user_agent`` is no header value.
    """

    def __init__(
        self, *, host: str, scheme: str = "http", sign: Sign | None = None, user_agent: str = USER_AGENT
    ) -> None:
        require_field_value(user_agent, "user_agent")
        self._url = f"{scheme}://{host}"
        self._sign = sign
        new_connection = partial(InvokeConnection, host=host, user_agent=user_agent)
        super().__init__("caller", new_connection)
        self.answer: OpenAnswer | None = None

    def connect(self) -> Exchange[None]:
        """See to it that ``connection`` can carry a call: the one that is there, or a new one.

        Of an answer that is complete, what still ends it on the wire is taken if it has come. One that is not is
        given up with its connection: the function runs on.

        Raises:
            ConnectionLost: The service cannot be reached. Nothing was sent.
        """
        self.require_open()
        if self.answer is not None and self.answer.complete is not None:
            with suppress(ConnectionLost, RemoteProtocolError):  # then another connection is dialled
                self.connection.next_event()
                room = _LONGEST_END
                while self.connection.awaiting_answer and room > 0:
                    heard = yield LOOK
                    if not heard:
                        break
                    self.connection.receive_data(heard)
                    self.connection.next_event()
                    room -= len(heard)
        self.answer = None
        if not (yield from self._keep()):
            yield from self._dial()

    def signed(self, asked: InvokeAsked) -> InvokeAsked:
        """Return a call with what the signer adds to it.

        Raises:
            Malformed: The call cannot be said on this wire, or the signer returned what cannot, or changed a field.
        """
        method, target, fields = self.connection.request(asked)
        if self._sign is None:
            return asked
        given = {name.lower(): value for name, value in fields}
        added: list[tuple[str, str]] = []
        for name, value in _pairs(self._sign(method, self._url + target, fields, asked.payload)):
            if name not in given:
                given[name] = value
                added.append((name, value))
            elif given[name] != value:
                raise Malformed(f"a signer adds each field once and changes none, got another {quote(name)}")
        try:
            return replaced(asked, headers=(*asked.headers, *added))
        except Malformed as fault:
            raise Malformed(f"the signer added what cannot be sent: {fault.reason}") from fault


def _pairs(fields: Iterable[object]) -> Iterator[tuple[str, str]]:
    """Yield what a signer returned, names in lower case."""
    try:
        pairs = iter(fields)
    except TypeError as fault:
        raise Malformed(f"a signer returns pairs of name and value, got {type(fields).__name__}") from fault
    for pair in pairs:
        match pair:
            case (str() as name, str() as value):
                yield name.lower(), value
            case _:
                raise Malformed(f"a signer returns pairs of name and value, got {type(pair).__name__} among them")


class OpenAnswer:
    """The streamed answer to a call.

    Attributes:
        accepted: What its head said.
        complete: How it ended; ``None`` until then.
        failed: What the service ended it with instead.
    """

    def __init__(self, session: CallerSession, accepted: InvokeAccepted) -> None:
        self.session: CallerSession = session
        self.accepted: InvokeAccepted = accepted
        self.complete: InvokeComplete | None = None
        self.failed: InvokeFailed | None = None


def invoke(session: CallerSession, asked: InvokeAsked) -> Exchange[InvokeAnswered]:
    """Call a function by Invoke and return the whole answer.

    Raises:
        CallRefused: The service did not call the function.
        ConnectionLost: The service cannot be reached, or closed the connection before the answer was complete.
        RemoteProtocolError: The service said what it may not.
        Malformed: The call cannot be said on this wire, or asks for a stream. Nothing was sent.
    """
    if asked.streaming:
        raise Malformed("Invoke answers whole: open_answer() is for a call with streaming=True")
    event = yield from _call(session, asked)
    assert isinstance(event, InvokeAnswered)  # the role gives no other to this call
    return event


def open_answer(session: CallerSession, asked: InvokeAsked) -> Exchange[OpenAnswer]:
    """Call a function by InvokeWithResponseStream and return its answer as soon as its head is there.

    An answer that was opened before and not read to its end is given up with its connection: the function runs on.

    Raises:
        CallRefused: The service did not call the function.
        ConnectionLost: The service cannot be reached, or closed the connection instead of answering.
        RemoteProtocolError: The service said what it may not.
        Malformed: The call cannot be said on this wire, or asks for no stream. Nothing was sent.
    """
    if not asked.streaming:
        raise Malformed("InvokeWithResponseStream needs a call with streaming=True")
    event = yield from _call(session, asked)
    assert isinstance(event, InvokeAccepted)  # the role gives no other to this call
    session.answer = OpenAnswer(session, event)
    return session.answer


def next_chunk(answer: OpenAnswer) -> Exchange[bytes | None]:
    """Return the next bytes of a streamed answer as soon as they are there; ``None`` when it is complete.

    Raises:
        CallFailed: The service ended the stream with an exception or error message.
        ConnectionLost: The connection ended before the answer was complete.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The answer was given up: it was dropped, or its session has made another call.
    """
    session = answer.session
    while answer.complete is None:
        if answer.failed is not None:
            raise CallFailed(answer.failed)
        if session.answer is not answer:
            raise LocalProtocolError("nothing more comes of this answer: it was given up")
        event = yield from session.hear()
        match event:
            case PayloadChunk():
                if event.payload:
                    return event.payload
            case InvokeComplete():
                answer.complete = event
            case InvokeFailed():
                answer.failed = event
            case _:
                raise _lost(event)
    return None


def drop_answer(answer: OpenAnswer) -> Exchange[None]:
    """Give a streamed answer up: no more of it is read, and its connection is closed. The function runs on."""
    session = answer.session
    if session.answer is answer and answer.complete is None:
        session.answer = None
        session.abandon()
        yield Hangup()


def _call(session: CallerSession, asked: InvokeAsked) -> Exchange[InvokeEvent]:
    """Send a call and return the head of its answer, or its whole answer."""
    session.require_open()
    signed = session.signed(asked)
    yield from session.connect()
    event = yield from session.say(session.connection.send_buffers(signed), look_first=False)
    if event is None:
        event = yield from session.hear()
    if isinstance(event, InvokeRefused):
        raise CallRefused(event)
    if isinstance(event, ConnectionClosed):
        raise _lost(event)
    return event


def _lost(event: InvokeEvent) -> ConnectionLost:
    assert isinstance(event, ConnectionClosed)
    return ConnectionLost("the service closed the connection before the answer was complete: the function may have run")
