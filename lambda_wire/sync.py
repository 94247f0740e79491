"""The blocking driver: a runtime, or a caller, on one thread, over one connection at a time.

with connect(os.environ["AWS_LAMBDA_RUNTIME_API"]) as runtime:
    while True:
        invocation = runtime.next_invocation()
        runtime.respond(invocation, b'"hello"')

with connect_caller("http://127.0.0.1:9000") as caller:
    for chunk in caller.invoke_with_response_stream("function", b"{}"):
        print(chunk)
"""

from __future__ import annotations

from types import TracebackType

from lambda_wire import _names as names
from lambda_wire import exchanges
from lambda_wire._addresses import Endpoint, parse_address, parse_endpoint
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._heads import USER_AGENT
from lambda_wire._sockets import Wire
from lambda_wire._tls import context_for
from lambda_wire._types import BytesLike

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Self

    from lambda_wire._blocking_caller import Caller, StreamedAnswer


__all__ = ["Caller", "ResponseStream", "Runtime", "StreamedAnswer", "connect", "connect_caller"]


def connect(address: str, *, user_agent: str = USER_AGENT) -> Runtime:
    """Return a runtime that talks to the Runtime API at ``address``. Nothing is sent before it is used.

    Args:
        address: ``host:port``, as ``AWS_LAMBDA_RUNTIME_API`` has it.
        user_agent: What the ``User-Agent`` field says.

    Raises:
        Malformed: ``address`` is not ``host:port``, or it or ``user_agent`` is no header value.
    """
    return Runtime(parse_address(address), user_agent=user_agent)


class Runtime:
    """A runtime's conversations, blocking. One caller at a time: a second one is turned away with ``Busy``."""

    def __init__(self, service: Endpoint, *, user_agent: str = USER_AGENT) -> None:
        self._session = exchanges.RuntimeSession(host=service.authority, user_agent=user_agent)
        self._wire = Wire(service, self._session, what="Runtime API")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close this runtime for good, from whichever thread or signal handler.

        An open poll is given up. Whatever waits in another thread is woken; only if the system looks a host name up,
        that comes to its end first. It fails with ``ConnectionLost``, and so does every call from now on.
        """
        self._wire.close()

    def stop_polling(self) -> None:
        """Poll no more, from whichever thread or signal handler.

        A poll that is open ends: with an invocation that has come already, or begun to, which can be answered as ever,
        else, as one that dials and every later one, with ``ConnectionLost``. One part is not seen: what another thread
        has just taken from the system, and had no turn yet to look at.
        """
        self._session.stopping = True
        self._wire.end_reading(lambda: self._session.polling)
        self._wire.end_dial(lambda: self._session.dialling)

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        """Wait for the next invocation.

        Args:
            timeout: Seconds; ``None`` waits for ever, as AWS demands of runtimes. A poll that timed out stays open and
                is resumed by the next call.

        Raises:
            TimeoutError: No invocation came in time.
            ValueError: ``timeout`` is not a number. Nothing was sent.
            RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: A streamed response is still open: finish it, or fail it; or ``next_restore`` is.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.next_invocation(self._session), timeout)

    def next_restore(self, *, timeout: float | None = None) -> None:
        """SnapStart: say that the environment may be snapshotted, and wait until it was restored.

        Args:
            timeout: Seconds; ``None`` waits for ever. A poll that timed out stays open and is resumed by the next call.

        Raises:
            TimeoutError: It was not restored in time.
            ValueError: ``timeout`` is not a number. Nothing was sent.
            RequestRefused: The service has no SnapStart here (404), or does not expect this now (403).
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not, such as an invocation instead.
            LocalProtocolError: The runtime has polled for an invocation, was restored or has reported an init error.
            Busy: Another caller uses this runtime.
        """
        self._wire.run(exchanges.next_restore(self._session), timeout)

    def respond(
        self, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
    ) -> Accepted | Refused:
        """Answer ``invocation`` with a whole response.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or ``content_type`` no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.respond(self._session, invocation, payload, content_type=content_type))

    def report_error(
        self, invocation: Invocation, *, error_type: str, payload: BytesLike, xray_cause: str = ""
    ) -> Accepted | Refused:
        """Report that ``invocation`` failed before its response began.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(
            exchanges.report_error(
                self._session, invocation, error_type=error_type, payload=payload, xray_cause=xray_cause
            )
        )

    def report_init_error(self, *, error_type: str, payload: BytesLike, xray_cause: str = "") -> Accepted | Refused:
        """Report that the runtime could not start.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The runtime has polled already.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(
            exchanges.report_init_error(self._session, error_type=error_type, payload=payload, xray_cause=xray_cause)
        )

    def report_restore_error(self, *, error_type: str, payload: BytesLike) -> Accepted | Refused:
        """SnapStart: report that the runtime could not go on after ``next_restore``.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The environment was not restored, or the runtime has polled since.
            Malformed: ``payload`` is not bytes-like, or ``error_type`` no header value.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.report_restore_error(self._session, error_type=error_type, payload=payload))

    def stream(
        self, invocation: Invocation, *chunks: BytesLike, content_type: str = names.OCTET_STREAM
    ) -> ResponseStream:
        """Begin to answer ``invocation`` with a stream.

        Args:
            invocation: What is answered.
            chunks: Data that leaves together with the head, each piece as a chunk of its own.
            content_type: Of the response.

        Raises:
            StreamInterrupted: The service has answered already, or went away.
            ConnectionLost: The service cannot be reached, and nothing was sent; or this was closed meanwhile.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: A chunk is not bytes-like, or ``content_type`` no header value. Nothing was sent.
            Busy: Another caller uses this runtime.
        """
        begin = exchanges.start_response(self._session, invocation, chunks, content_type=content_type)
        return ResponseStream(self._wire, self._wire.run(begin))


class ResponseStream:
    """A streamed response that has begun. End it with ``finish`` or ``fail``."""

    def __init__(self, wire: Wire, response: exchanges.OpenResponse) -> None:
        self._wire = wire
        self._response = response

    def write(self, *chunks: BytesLike) -> None:
        """Send data at once, each piece as a chunk of its own. Empty pieces are left out.

        Raises:
            StreamInterrupted: The service has answered already, or went away: stop producing.
            ConnectionLost: This was closed.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: A chunk is not bytes-like. Nothing was sent.
            Busy: Another caller uses this runtime.
        """
        self._wire.run(exchanges.write_chunks(self._response, chunks))

    def finish(self) -> Accepted | Refused:
        """Complete the response.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.finish_response(self._response))

    def fail(self, *, error_type: str, error_body: BytesLike) -> Accepted | Refused:
        """End the response early, with the two error trailers.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: The document is not bytes-like or does not fit the trailers (``MAX_TRAILER_DOCUMENT``).
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.fail_response(self._response, error_type=error_type, error_body=error_body))


# -- the caller


def connect_caller(
    endpoint: str,
    *,
    sign: exchanges.Sign | None = None,
    user_agent: str = USER_AGENT,
    context: ssl.SSLContext | None = None,
) -> Caller:
    """Return a caller of the functions at ``endpoint``. Nothing is sent before it is used.

    Args:
        endpoint: ``http://host:port`` or ``https://host``, as an SDK's ``endpoint_url``.
        sign: Given method, URL, header fields and payload of each request, returns the fields of the signed request;
            nothing is signed when not given.
        user_agent: What the ``User-Agent`` field says.
        context: How to speak TLS; the standard library's default when not given.

    Raises:
        Malformed: ``endpoint`` is no such URL, or it or ``user_agent`` is no header value.
    """
    from lambda_wire._blocking_caller import Caller

    service = parse_endpoint(endpoint)
    session = exchanges.CallerSession(host=service.authority, scheme=service.scheme, sign=sign, user_agent=user_agent)
    tls = context_for(service.scheme, context)
    return Caller(session, Wire(service, session, what="Lambda endpoint", context=tls))


if not TYPE_CHECKING:  # a runtime needs nothing of a caller, and a cold start does not load it (PEP 562)

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from lambda_wire import _blocking_caller

        return getattr(_blocking_caller, name)
