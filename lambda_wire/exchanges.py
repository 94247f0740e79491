"""Every conversation of a runtime with the Runtime API, once, as a generator of wants.

A driver runs them; to write a driver for another event loop is to answer four wants::

    want = next(exchange)
    while True:
        want = exchange.send(answer_to(want))  # StopIteration carries the result

A ``RuntimeSession`` outlives its connections: one is kept for as long as it can be used and another is dialled when
the service closed it. A poll is asked again only when the connection that carried it is gone. An answer to an
invocation is posted once: when its connection ends before the service has answered, its fate is unknown and stays so.
"""

from __future__ import annotations

from collections.abc import Sequence

from lambda_wire import _names as names
from lambda_wire._errors import ConnectionLost, RequestRefused, StreamInterrupted
from lambda_wire._events import (
    Accepted,
    Ask,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
)
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._runtime import USER_AGENT, RuntimeConnection, RuntimeEvent
from lambda_wire._signals import Signal
from lambda_wire._types import BytesLike
from lambda_wire._wants import Dial, Exchange, Hangup, Outgoing, Read, Want, Write

__all__ = [
    "Dial",
    "Exchange",
    "Hangup",
    "Outgoing",
    "Read",
    "RuntimeSession",
    "Want",
    "Write",
    "fail_response",
    "finish_response",
    "next_invocation",
    "report_error",
    "report_init_error",
    "respond",
    "start_response",
    "write_chunks",
]


class RuntimeSession:
    """One runtime, across the connections that it uses one after the other.

    Args:
        host: What the ``Host`` field says: the value of ``AWS_LAMBDA_RUNTIME_API``.
        user_agent: What the ``User-Agent`` field says.
    """

    def __init__(self, *, host: str, user_agent: str = USER_AGENT) -> None:
        self._host = host
        self._user_agent = user_agent
        self._lifecycle = StandardLifecycle(snap_start=True)
        self.connection: RuntimeConnection = self._new_connection()
        self.connected: bool = False

    def _new_connection(self) -> RuntimeConnection:
        return RuntimeConnection(host=self._host, lifecycle=self._lifecycle, user_agent=self._user_agent)

    def connect(self) -> Exchange[RuntimeConnection]:
        """Return a connection that can carry a request: the one that is there, or a new one.

        What a cancelled conversation left open is settled first: an answer that is still due is read, a request that
        did not go out whole is given up with its connection.

        Raises:
            ConnectionLost: The service cannot be reached. Nothing was sent.
            RemoteProtocolError: The service said what it may not.
        """
        if self.connection.awaiting_invocation:
            return self.connection  # whatever else is asked on it is refused: the invocation must not be lost
        if self.connection.awaiting_answer:
            yield from _answer(self.connection)
        if self.connected and not self.connection.must_close:
            try:
                heard = yield Write(outgoing=Outgoing(), look_first=True)
            except ConnectionLost:
                heard = b"ended"
            if not heard:
                return self.connection
        self.connection.abandon()
        yield Hangup()
        self.connected = False
        yield Dial()
        self.connection = self._new_connection()
        self.connected = True
        return self.connection


# -- conversations


def next_invocation(session: RuntimeSession) -> Exchange[Invocation]:
    """Poll for the next invocation. A poll that is already open is resumed.

    Raises:
        RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
        ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
        RemoteProtocolError: The service said what it may not.
    """
    while True:
        kept = connection = session.connection
        if not connection.awaiting_invocation:
            connection = yield from session.connect()
            answer = yield from _ask(connection, NextAsked())
        else:
            answer = yield from _answer(connection)
        if isinstance(answer, Invocation):
            return answer
        if isinstance(answer, Refused):
            raise RequestRefused(answer)
        if connection is not kept:
            raise ConnectionLost("the service closed a new connection instead of answering the poll")


def respond(
    session: RuntimeSession, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
) -> Exchange[Accepted | Refused]:
    """Answer ``invocation`` with a whole response.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
    """
    return (
        yield from _post(
            session,
            BufferedResponse(
                request_id=invocation.request_id,
                payload=bytes(payload),
                content_type=content_type,
                invocation_id=invocation.invocation_id,
            ),
        )
    )


def report_error(
    session: RuntimeSession, invocation: Invocation, *, error_type: str, payload: bytes, xray_cause: str = ""
) -> Exchange[Accepted | Refused]:
    """Report that ``invocation`` failed before its response began.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
    """
    return (
        yield from _post(
            session,
            ErrorReported(
                request_id=invocation.request_id,
                error_type=error_type,
                payload=payload,
                xray_cause=xray_cause,
                invocation_id=invocation.invocation_id,
            ),
        )
    )


def report_init_error(
    session: RuntimeSession, *, error_type: str, payload: bytes, xray_cause: str = ""
) -> Exchange[Accepted | Refused]:
    """Report that the runtime could not start.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The runtime has polled already.
    """
    return (yield from _post(session, InitErrorReported(error_type=error_type, payload=payload, xray_cause=xray_cause)))


def start_response(
    session: RuntimeSession,
    invocation: Invocation,
    chunks: Sequence[BytesLike] = (),
    *,
    content_type: str = names.OCTET_STREAM,
) -> Exchange[None]:
    """Begin to answer ``invocation`` with a stream; its first chunks leave together with the head.

    Raises:
        StreamInterrupted: The service has answered already, or went away.
        ConnectionLost: The service cannot be reached. Nothing was sent.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
    """
    connection = yield from session.connect()
    head = connection.send_buffers(
        ResponseStarted(
            request_id=invocation.request_id, content_type=content_type, invocation_id=invocation.invocation_id
        )
    )
    yield from _say_part(connection, [*head, *_chunk_buffers(connection, chunks)])


def write_chunks(session: RuntimeSession, chunks: Sequence[BytesLike]) -> Exchange[None]:
    """Send data of a streamed response at once, each piece as a chunk of its own. Empty pieces are left out.

    Raises:
        StreamInterrupted: The service has answered already, or went away: stop producing.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: No stream is open.
    """
    buffers = _chunk_buffers(session.connection, chunks)
    if buffers:
        yield from _say_part(session.connection, buffers)


def finish_response(session: RuntimeSession) -> Exchange[Accepted | Refused]:
    """Complete a streamed response.

    Raises:
        ConnectionLost: The service closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: No stream is open.
    """
    return (yield from _end(session.connection, ResponseFinished()))


def fail_response(session: RuntimeSession, *, error_type: str, error_body: bytes) -> Exchange[Accepted | Refused]:
    """End a streamed response early, with the two error trailers.

    Raises:
        ConnectionLost: The service closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: No stream is open.
        Malformed: The document does not fit the trailers.
    """
    return (yield from _end(session.connection, ResponseFailed(error_type=error_type, error_body=error_body)))


# -- parts of conversations


def _post(session: RuntimeSession, report: Ask) -> Exchange[Accepted | Refused]:
    connection = yield from session.connect()
    return _verdict((yield from _ask(connection, report)))


def _end(connection: RuntimeConnection, end: ResponseFinished | ResponseFailed) -> Exchange[Accepted | Refused]:
    return _verdict((yield from _ask(connection, end)))


def _verdict(answer: RuntimeEvent) -> Accepted | Refused:
    if isinstance(answer, (Accepted, Refused)):
        return answer
    raise ConnectionLost("the service closed the connection without an answer: whether it took the report is unknown")


def _chunk_buffers(connection: RuntimeConnection, chunks: Sequence[BytesLike]) -> list[BytesLike]:
    return [buffer for data in chunks if data for buffer in connection.send_buffers(ResponseChunk(data=bytes(data)))]


def _ask(connection: RuntimeConnection, event: Ask) -> Exchange[RuntimeEvent]:
    """Send a request, or the end of one, and return its answer."""
    answer = yield from _say(connection, connection.send_buffers(event), look_first=False)
    return (yield from _answer(connection)) if answer is None else answer


def _say_part(connection: RuntimeConnection, buffers: Sequence[BytesLike]) -> Exchange[None]:
    """Send a part of a streamed response."""
    answer = yield from _say(connection, buffers, look_first=True)
    if answer is not None:
        raise StreamInterrupted(answer if isinstance(answer, (Accepted, Refused)) else None)


def _say(
    connection: RuntimeConnection, buffers: Sequence[BytesLike], *, look_first: bool
) -> Exchange[RuntimeEvent | None]:
    """Write it all; or return what the service answered, or that it has gone, before all was written."""
    outgoing = Outgoing(buffers)
    try:
        while heard := (yield Write(outgoing=outgoing, look_first=look_first)):
            connection.receive_data(heard)
            event = connection.next_event()
            if not isinstance(event, Signal):  # else it was an interim response, or only the beginning of one
                connection.send_failed()
                return event
        return None
    except ConnectionLost:
        connection.send_failed()
    except BaseException:
        connection.send_failed()
        raise
    return (yield from _answer(connection))


def _answer(connection: RuntimeConnection) -> Exchange[RuntimeEvent]:
    """Read until the service has answered or gone."""
    while True:
        event = connection.next_event()
        if not isinstance(event, Signal):
            return event
        connection.receive_data((yield Read()))
