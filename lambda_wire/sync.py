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

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lambda_wire import _names as names
from lambda_wire import exchanges
from lambda_wire._addresses import Endpoint, parse_address, parse_endpoint
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._fields import as_bytes
from lambda_wire._heads import USER_AGENT
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeComplete
from lambda_wire._sockets import TlsWire, Wire
from lambda_wire._tls import context_for
from lambda_wire._types import BytesLike, Headers

if TYPE_CHECKING:
    import ssl

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

        An open poll is given up. Whatever waits in another thread is woken, and every call from now on fails, with
        ``ConnectionLost``.
        """
        self._wire.close()

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        """Wait for the next invocation.

        Args:
            timeout: Seconds; ``None`` waits for ever, as AWS demands of runtimes. A poll that timed out stays open and
                is resumed by the next call.

        Raises:
            TimeoutError: No invocation came in time.
            RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: A streamed response is still open: finish it, or fail it.
            Busy: Another caller uses this runtime.
        """
        return self._wire.run(exchanges.next_invocation(self._session), timeout)

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
            ConnectionLost: The service cannot be reached. Nothing was sent.
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
    service = parse_endpoint(endpoint)
    session = exchanges.CallerSession(host=service.authority, scheme=service.scheme, sign=sign, user_agent=user_agent)
    tls = context_for(service.scheme, context)
    what = "Lambda endpoint"
    if tls is None:
        return Caller(session, Wire(service, session, what=what))
    return Caller(session, TlsWire(service, session, what=what, context=tls))


class Caller:
    """A caller's conversations, blocking. Made by ``connect_caller``; one user at a time.

    A call is sent once. When its connection ends before the answer is complete, the function may have run.
    """

    def __init__(self, session: exchanges.CallerSession, wire: Wire) -> None:
        self._session = session
        self._wire = wire

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close this caller for good, from whichever thread or signal handler. What runs is not stopped by it."""
        self._wire.close()

    def invoke(
        self,
        function_name: str,
        payload: BytesLike = b"",
        *,
        qualifier: str = "",
        invocation_type: str = "RequestResponse",
        log_type: str = "None",
        client_context: str = "",
        tenant_id: str = "",
        trace_id: str = "",
        headers: Headers = (),
        timeout: float | None = None,
    ) -> InvokeAnswered:
        """Call a function and return its whole answer (``Invoke``).

        Args:
            function_name: Name, partial ARN or ARN.
            payload: The event, JSON.
            qualifier: Version or alias.
            invocation_type: ``RequestResponse``, ``Event`` or ``DryRun``.
            log_type: ``Tail`` asks for the end of the log.
            client_context: JSON text.
            tenant_id: Of a function with tenants.
            trace_id: ``X-Amzn-Trace-Id``; AWS makes one when it is empty.
            headers: Other fields, names in lower case.
            timeout: Seconds to wait for the service to speak; ``None`` waits for ever.

        Raises:
            CallRefused: The service did not call the function.
            TimeoutError: Nothing came in time. The function may run; the next call uses another connection.
            ConnectionLost: The service cannot be reached, or closed the connection before the answer was complete.
            RemoteProtocolError: The service said what it may not.
            Malformed: An argument cannot be said on this wire. Nothing was sent.
            Busy: Another thread uses this caller.
        """
        asked = InvokeAsked(
            function_name=function_name,
            payload=as_bytes(payload, "payload"),
            qualifier=qualifier,
            invocation_type=invocation_type,
            log_type=log_type,
            client_context=client_context,
            tenant_id=tenant_id,
            trace_id=trace_id,
            headers=headers,
        )
        return self._wire.run(exchanges.invoke(self._session, asked), timeout)

    def invoke_with_response_stream(
        self,
        function_name: str,
        payload: BytesLike = b"",
        *,
        qualifier: str = "",
        log_type: str = "None",
        client_context: str = "",
        tenant_id: str = "",
        trace_id: str = "",
        headers: Headers = (),
        timeout: float | None = None,
    ) -> StreamedAnswer:
        """Call a function and return its answer as soon as that begins (``InvokeWithResponseStream``).

        Args:
            function_name: Name, partial ARN or ARN.
            payload: The event, JSON.
            qualifier: Version or alias.
            log_type: ``Tail`` asks for the end of the log.
            client_context: JSON text.
            tenant_id: Of a function with tenants.
            trace_id: ``X-Amzn-Trace-Id``; AWS makes one when it is empty.
            headers: Other fields, names in lower case.
            timeout: Seconds to wait for the service to speak, each time; ``None`` waits for ever.

        Raises:
            CallRefused: The service did not call the function.
            TimeoutError: Nothing came in time. The function may run; the next call uses another connection.
            ConnectionLost: The service cannot be reached, or closed the connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            Malformed: An argument cannot be said on this wire. Nothing was sent.
            Busy: Another thread uses this caller.
        """
        asked = InvokeAsked(
            function_name=function_name,
            payload=as_bytes(payload, "payload"),
            streaming=True,
            qualifier=qualifier,
            log_type=log_type,
            client_context=client_context,
            tenant_id=tenant_id,
            trace_id=trace_id,
            headers=headers,
        )
        answer = self._wire.run(exchanges.open_answer(self._session, asked), timeout)
        return StreamedAnswer(self._wire, answer, timeout)


class StreamedAnswer(Iterator[bytes]):
    """A streamed answer: an iterator of its chunks as they arrive. Made by ``invoke_with_response_stream``."""

    def __init__(self, wire: Wire, answer: exchanges.OpenAnswer, timeout: float | None) -> None:
        self._wire = wire
        self._answer = answer
        self._timeout = timeout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give the rest of the answer up, with its connection. The function runs on.

        Raises:
            Busy: Another thread uses this caller.
        """
        self._wire.run(exchanges.drop_answer(self._answer))

    @property
    def accepted(self) -> InvokeAccepted:
        """What the head of the answer said: the function's content type, the request id."""
        return self._answer.accepted

    @property
    def complete(self) -> InvokeComplete | None:
        """How the answer ended: with an error of the function, with the log; ``None`` before its end."""
        return self._answer.complete

    def __next__(self) -> bytes:
        """Return the next chunk as soon as it is there.

        Raises:
            StopIteration: The answer is ``complete``.
            CallFailed: The service ended the stream with an exception or error message.
            TimeoutError: Nothing came in time. It may be asked for again.
            ConnectionLost: The connection ended before the answer was complete.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The caller has made another call, or this answer was closed.
            Busy: Another thread uses this caller.
        """
        chunk = self._wire.run(exchanges.next_chunk(self._answer), self._timeout)
        if chunk is None:
            raise StopIteration
        return chunk
