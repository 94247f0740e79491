"""The conversations of a runtime with the Runtime API.

A poll is asked again only when the connection that carried it is gone. An answer to an invocation is posted once: when
its connection ends before the service has answered, its fate is unknown and stays so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from lambda_wire import _names as names
from lambda_wire._asks import Request
from lambda_wire._errors import (
    ConnectionLost,
    LocalProtocolError,
    RemoteProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    Refused,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._fields import as_bytes
from lambda_wire._lifecycle import StandardLifecycle
from lambda_wire._runtime import USER_AGENT, RuntimeConnection, RuntimeEvent, require_legal
from lambda_wire._types import BytesLike
from lambda_wire._wants import Exchange
from lambda_wire.exchanges.session import Session

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeVar
else:
    from lambda_wire._typing import TypeVar

__all__ = [
    "OpenResponse",
    "RuntimeSession",
    "fail_response",
    "finish_response",
    "next_invocation",
    "next_restore",
    "report_error",
    "report_init_error",
    "report_restore_error",
    "respond",
    "start_response",
    "write_chunks",
]

#: A look would double the system calls of a write. Who hangs up on an idle connection waits longer than this, and who
#: refuses the rest of a stream is heard soon enough.
_FRESH_S: Final = 0.01
_NEXT: Final = NextAsked()
_A = TypeVar("_A", Invocation, RestoreReady)


class RuntimeSession(Session[RuntimeConnection]):
    """One runtime, across the connections that it uses one after the other.

    Args:
        host: What the ``Host`` field says: the value of ``AWS_LAMBDA_RUNTIME_API``.
        user_agent: What the ``User-Agent`` field says.

    Attributes:
        response: The streamed response that is open, if there is one.
        stopping: Whether nothing is polled for any more. Whoever sets it also ends the reading of a poll that is open,
            and the connection that is dialled for one.

    Raises:
        Malformed: ``host`` is none, or ``user_agent`` is no header value.
    """

    def __init__(self, *, host: str, user_agent: str = USER_AGENT) -> None:
        self._lifecycle = StandardLifecycle(snap_start=True)
        new_connection = partial(RuntimeConnection, host=host, lifecycle=self._lifecycle, user_agent=user_agent)
        super().__init__("runtime", new_connection)
        self.fresh_s = _FRESH_S
        self.response: OpenResponse | None = None
        self.stopping: bool = False
        self._connects_to_poll = False

    @property
    def polling(self) -> bool:
        """Whether a poll is open, and nothing of its answer has come."""
        return self.connection.polling and self.connection.unheard

    @property
    def dialling(self) -> bool:
        """Whether a connection is dialled for a poll, or will be, so that nothing was said on it."""
        return self._connects_to_poll and not self.connected

    def require_open(self) -> None:
        """Raise ``ConnectionLost`` when ``closed`` was set; or ``stopping``, while ``dialling``."""
        super().require_open()
        if self.dialling:
            self.require_polls()

    def abandon(self) -> None:
        """Give the connection up, whatever is open on it; a poll before a report has ended is refused (RT-RESP-12)."""
        self.lingers: bool = self.lingers or self.connection.reporting
        super().abandon()

    def require_polls(self) -> None:
        """Raise ``ConnectionLost`` when ``stopping`` was set."""
        if self.stopping:
            raise ConnectionLost("this runtime was told to poll no more")

    def connect(self, event: Request) -> Exchange[None]:
        """See to it that ``connection`` can carry a request: the one that is there, or a new one.

        What a cancelled conversation left open is settled first: an answer that is still due is read, a request that
        did not go out whole is given up with its connection, which the service ends.

        Args:
            event: What is to be said: nothing is dialled for what the service would refuse.

        Raises:
            ConnectionLost: The service cannot be reached. Nothing was sent.
            LocalProtocolError: ``event`` may not be said now.
        """
        connection = self.connection
        if connection.polling or connection.streaming:
            self.require_open()
            return  # whatever else is asked on it is refused: neither a poll's answer nor a stream may be cut
        if connection.awaiting_answer:
            with suppress(RemoteProtocolError):  # then another connection is dialled
                yield from self.hear()
        if not (yield from self._keep()):
            require_legal(self._lifecycle, event)
            yield from self._dial()

    def connect_to_poll(self, ask: NextAsked | RestoreAsked) -> Exchange[None]:
        """Do the same on behalf of a poll.

        Raises:
            ConnectionLost: The service cannot be reached, or nothing is polled for any more. Nothing was sent.
            LocalProtocolError: ``ask`` may not be said now.
        """
        self._connects_to_poll = True
        try:
            yield from self.connect(ask)
        finally:
            self._connects_to_poll = False


class OpenResponse:
    """A streamed response that ``start_response`` began: whoever adds to it or ends it shows this."""

    def __init__(self, session: RuntimeSession) -> None:
        self.session: RuntimeSession = session


# -- conversations


def next_invocation(session: RuntimeSession) -> Exchange[Invocation]:
    """Poll for the next invocation. A poll that is already open is resumed.

    Raises:
        RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
        ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: A streamed response is still open: finish it, or fail it; or ``next_restore`` is.
    """
    return _poll(session, _NEXT, Invocation)


def next_restore(session: RuntimeSession) -> Exchange[None]:
    """SnapStart: say that the environment may be snapshotted, and wait until it was restored.

    That may be long after, and many times: each restored environment goes on from here. A poll that is already open is
    resumed.

    Raises:
        RequestRefused: The service has no SnapStart here (404), or does not expect this now (403).
        ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
        RemoteProtocolError: The service said what it may not, such as an invocation instead.
        LocalProtocolError: The runtime has polled for an invocation, was restored or has reported an init error.
    """
    yield from _poll(session, RestoreAsked(), RestoreReady)


def respond(
    session: RuntimeSession, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
) -> Exchange[Accepted | Refused]:
    """Answer ``invocation`` with a whole response.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
        Malformed: ``payload`` is not bytes-like, or ``content_type`` no header value. Nothing changed.
    """
    whole = BufferedResponse(
        request_id=invocation.request_id,
        payload=as_bytes(payload, "payload"),
        content_type=content_type,
        invocation_id=invocation.invocation_id,
    )
    return (yield from _post(session, whole))


def report_error(
    session: RuntimeSession, invocation: Invocation, *, error_type: str, payload: BytesLike, xray_cause: str = ""
) -> Exchange[Accepted | Refused]:
    """Report that ``invocation`` failed before its response began.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
        Malformed: ``payload`` is not bytes-like, or another argument no header value. Nothing changed.
    """
    report = ErrorReported(
        request_id=invocation.request_id,
        error_type=error_type,
        payload=as_bytes(payload, "payload"),
        xray_cause=xray_cause,
        invocation_id=invocation.invocation_id,
    )
    return (yield from _post(session, report))


def report_init_error(
    session: RuntimeSession, *, error_type: str, payload: BytesLike, xray_cause: str = ""
) -> Exchange[Accepted | Refused]:
    """Report that the runtime could not start.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The runtime has polled already.
        Malformed: ``payload`` is not bytes-like, or another argument no header value. Nothing changed.
    """
    report = InitErrorReported(error_type=error_type, payload=as_bytes(payload, "payload"), xray_cause=xray_cause)
    return (yield from _post(session, report))


def report_restore_error(
    session: RuntimeSession, *, error_type: str, payload: BytesLike
) -> Exchange[Accepted | Refused]:
    """SnapStart: report that the runtime could not go on after ``next_restore``.

    Raises:
        ConnectionLost: The service cannot be reached, or closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The environment was not restored, or the runtime has polled since.
        Malformed: ``payload`` is not bytes-like, or ``error_type`` no header value. Nothing changed.
    """
    report = RestoreErrorReported(error_type=error_type, payload=as_bytes(payload, "payload"))
    return (yield from _post(session, report))


def start_response(
    session: RuntimeSession,
    invocation: Invocation,
    chunks: Sequence[BytesLike] = (),
    *,
    content_type: str = names.OCTET_STREAM,
) -> Exchange[OpenResponse]:
    """Begin to answer ``invocation`` with a stream; its first chunks leave together with the head.

    Raises:
        StreamInterrupted: The service has answered already, or went away.
        ConnectionLost: The service cannot be reached, and nothing was sent; or this was closed meanwhile.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: ``invocation`` is not the one to be answered now.
        Malformed: A chunk is not bytes-like, or ``content_type`` no header value. Nothing changed.
    """
    request_id, invocation_id = invocation.request_id, invocation.invocation_id
    started = ResponseStarted(request_id=request_id, content_type=content_type, invocation_id=invocation_id)
    parts = _parts(chunks)
    if not session.ready:
        yield from session.connect(started)
    head = session.connection.send_buffers(started)
    session.response = response = OpenResponse(session)
    answer = yield from session.say([*head, *session.connection.send_chunks(parts)], look_first=True)
    if answer is not None:
        raise _interrupted(answer)
    return response


def write_chunks(response: OpenResponse, chunks: Sequence[BytesLike]) -> Exchange[None]:
    """Send data of a streamed response at once, each piece as a chunk of its own. Empty pieces are left out.

    Raises:
        StreamInterrupted: The service has answered already, or went away: stop producing.
        ConnectionLost: This was closed.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The stream has ended.
        Malformed: A chunk is not bytes-like. Nothing was sent.
    """
    session = _carrier(response)
    if parts := _parts(chunks):
        answer = yield from session.say(session.connection.send_chunks(parts), look_first=True)
        if answer is not None:
            raise _interrupted(answer)


def finish_response(response: OpenResponse) -> Exchange[Accepted | Refused]:
    """Complete a streamed response.

    Raises:
        ConnectionLost: The service closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The stream has ended.
    """
    return (yield from _end(_carrier(response), ResponseFinished()))


def fail_response(response: OpenResponse, *, error_type: str, error_body: BytesLike) -> Exchange[Accepted | Refused]:
    """End a streamed response early, with the two error trailers.

    Raises:
        ConnectionLost: The service closed the connection without an answer.
        RemoteProtocolError: The service said what it may not.
        LocalProtocolError: The stream has ended.
        Malformed: The document is not bytes-like or does not fit the trailers. The stream can go on.
    """
    end = ResponseFailed(error_type=error_type, error_body=as_bytes(error_body, "error_body"))
    return (yield from _end(_carrier(response), end))


# -- parts of conversations


def _poll(session: RuntimeSession, ask: NextAsked | RestoreAsked, expected: type[_A]) -> Exchange[_A]:
    """Ask, unless that was done, until it is answered; again when the connection that was kept has ended."""
    while True:
        kept = session.connection
        if kept.awaits(type(ask)):
            answer = yield from session.hear()
        else:
            session.require_polls()
            if not session.ready:
                yield from session.connect_to_poll(ask)
            buffers = session.connection.send_buffers(ask)
            if session.stopping:  # whoever sets it from now on finds the poll open, and ends its reading
                session.connection.send_failed()
                session.require_polls()
            answer = yield from session.ask(buffers)
        if isinstance(answer, expected):
            if session.stopping:  # whoever sets it may have ended the reading just then
                session.abandon()
            return answer
        if isinstance(answer, Refused):
            raise RequestRefused(answer)
        session.require_polls()
        if session.connection is not kept:
            raise ConnectionLost("the service closed a new connection instead of answering the poll")


def _post(session: RuntimeSession, report: Request) -> Exchange[Accepted | Refused]:
    if not session.ready:
        yield from session.connect(report)
    return _taken((yield from session.ask(session.connection.send_buffers(report))))


def _end(session: RuntimeSession, end: ResponseFinished | ResponseFailed) -> Exchange[Accepted | Refused]:
    return _taken((yield from session.ask(session.connection.send_buffers(end))))


def _taken(answer: RuntimeEvent) -> Accepted | Refused:
    if isinstance(answer, (Accepted, Refused)):
        return answer
    raise ConnectionLost("the service closed the connection without an answer: whether it took the report is unknown")


def _carrier(response: OpenResponse) -> RuntimeSession:
    """Return the session whose connection carries this response now."""
    session = response.session
    if session.closed:
        session.require_open()
    if session.response is not response or not session.connection.streaming:
        raise LocalProtocolError("nothing can be added to this response: the stream has ended")
    return session


def _parts(chunks: Sequence[BytesLike]) -> list[bytes]:
    return [data for chunk in chunks if (data := chunk if type(chunk) is bytes else as_bytes(chunk, "a chunk"))]


def _interrupted(answer: RuntimeEvent) -> StreamInterrupted:
    """Return what interrupts who streams when the service has answered already."""
    return StreamInterrupted(answer if isinstance(answer, (Accepted, Refused)) else None)
