"""The facade of the asynchronous drivers: ``lambda_wire.sync`` with ``await``, and without timeouts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import TracebackType
from typing import TYPE_CHECKING, Self

from lambda_wire import _names as names
from lambda_wire import exchanges
from lambda_wire._addresses import parse_address, parse_endpoint
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._fields import as_bytes
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeComplete
from lambda_wire._tls import context_for
from lambda_wire._transport import AsyncWire, Loop
from lambda_wire._types import BytesLike, Headers

if TYPE_CHECKING:
    import ssl

__all__ = ["Caller", "ResponseStream", "Runtime", "StreamedAnswer", "caller_at", "runtime_at"]


def runtime_at(address: str, *, user_agent: str, loop: Loop) -> Runtime:
    """Return a runtime for ``connect`` of a driver."""
    service = parse_address(address)
    session = exchanges.RuntimeSession(host=service.authority, user_agent=user_agent)
    return Runtime(session, AsyncWire(service, session, what="Runtime API", loop=loop))


def caller_at(
    endpoint: str, *, sign: exchanges.Sign | None, user_agent: str, context: ssl.SSLContext | None, loop: Loop
) -> Caller:
    """Return a caller for ``connect_caller`` of a driver."""
    service = parse_endpoint(endpoint)
    session = exchanges.CallerSession(host=service.authority, scheme=service.scheme, sign=sign, user_agent=user_agent)
    tls = context_for(service.scheme, context)
    return Caller(session, AsyncWire(service, session, what="Lambda endpoint", loop=loop, context=tls))


class Runtime:
    """A runtime's conversations. One task at a time: a second one is turned away with ``Busy``."""

    def __init__(self, session: exchanges.RuntimeSession, wire: AsyncWire) -> None:
        self._session = session
        self._wire = wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close this runtime for good, from whichever task.

        An open poll is given up. Whatever waits in another task is woken; only if the system looks a host name up,
        that comes to its end first. It fails with ``ConnectionLost``, and so does every call from now on.
        """
        self._wire.close()
        await self._wire.checkpoint()

    async def stop_polling(self) -> None:
        """Poll no more, from whichever task.

        A poll that is open ends: with an invocation that has come already, or begun to, which can be answered as ever,
        else, as one that dials and every later one, with ``ConnectionLost``.
        """
        self._session.stopping = True
        self._wire.end_reading(lambda: self._session.polling)
        self._wire.end_dial(lambda: self._session.dialling)
        await self._wire.checkpoint()

    async def next_invocation(self) -> Invocation:
        """Wait for the next invocation. A poll that was cancelled stays open and is resumed by the next call.

        Raises:
            RequestRefused: The service refused the poll (403 or 500): the runtime cannot go on.
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: A streamed response is still open: finish it, or fail it; or ``next_restore`` is.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(exchanges.next_invocation(self._session))

    async def next_restore(self) -> None:
        """SnapStart: say that the environment may be snapshotted, and wait until it was restored.

        A poll that was cancelled stays open and is resumed by the next call.

        Raises:
            RequestRefused: The service has no SnapStart here (404), or does not expect this now (403).
            ConnectionLost: The service cannot be reached, or closed a new connection instead of answering.
            RemoteProtocolError: The service said what it may not, such as an invocation instead.
            LocalProtocolError: The runtime has polled for an invocation, was restored or has reported an init error.
            Busy: Another task uses this runtime.
        """
        await self._wire.run(exchanges.next_restore(self._session))

    async def respond(
        self, invocation: Invocation, payload: BytesLike, *, content_type: str = names.JSON
    ) -> Accepted | Refused:
        """Answer ``invocation`` with a whole response.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or ``content_type`` no header value.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(exchanges.respond(self._session, invocation, payload, content_type=content_type))

    async def report_error(
        self, invocation: Invocation, *, error_type: str, payload: BytesLike, xray_cause: str = ""
    ) -> Accepted | Refused:
        """Report that ``invocation`` failed before its response began.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: ``invocation`` is not the one to be answered now.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(
            exchanges.report_error(
                self._session, invocation, error_type=error_type, payload=payload, xray_cause=xray_cause
            )
        )

    async def report_init_error(
        self, *, error_type: str, payload: BytesLike, xray_cause: str = ""
    ) -> Accepted | Refused:
        """Report that the runtime could not start.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The runtime has polled already.
            Malformed: ``payload`` is not bytes-like, or another argument no header value.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(
            exchanges.report_init_error(self._session, error_type=error_type, payload=payload, xray_cause=xray_cause)
        )

    async def report_restore_error(self, *, error_type: str, payload: BytesLike) -> Accepted | Refused:
        """SnapStart: report that the runtime could not go on after ``next_restore``.

        Raises:
            ConnectionLost: The service cannot be reached, or closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The environment was not restored, or the runtime has polled since.
            Malformed: ``payload`` is not bytes-like, or ``error_type`` no header value.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(
            exchanges.report_restore_error(self._session, error_type=error_type, payload=payload)
        )

    async def stream(
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
            Busy: Another task uses this runtime.
        """
        begin = exchanges.start_response(self._session, invocation, chunks, content_type=content_type)
        return ResponseStream(self._wire, await self._wire.run(begin))


class ResponseStream:
    """A streamed response that has begun. End it with ``finish`` or ``fail``."""

    def __init__(self, wire: AsyncWire, response: exchanges.OpenResponse) -> None:
        self._wire = wire
        self._response = response

    async def write(self, *chunks: BytesLike) -> None:
        """Send data at once, each piece as a chunk of its own. Empty pieces are left out.

        Raises:
            StreamInterrupted: The service has answered already, or went away: stop producing.
            ConnectionLost: This was closed.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: A chunk is not bytes-like. Nothing was sent.
            Busy: Another task uses this runtime.
        """
        await self._wire.run(exchanges.write_chunks(self._response, chunks))

    async def finish(self) -> Accepted | Refused:
        """Complete the response.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(exchanges.finish_response(self._response))

    async def fail(self, *, error_type: str, error_body: BytesLike) -> Accepted | Refused:
        """End the response early, with the two error trailers.

        Raises:
            ConnectionLost: The service closed the connection without an answer.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The stream has ended.
            Malformed: The document is not bytes-like or does not fit the trailers (``MAX_TRAILER_DOCUMENT``).
            Busy: Another task uses this runtime.
        """
        return await self._wire.run(
            exchanges.fail_response(self._response, error_type=error_type, error_body=error_body)
        )


class Caller:
    """A caller's conversations. Made by ``connect_caller``; one task at a time.

    A call is sent once. When its connection ends before the answer is complete, the function may have run.
    """

    def __init__(self, session: exchanges.CallerSession, wire: AsyncWire) -> None:
        self._session = session
        self._wire = wire

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close this caller for good, from whichever task. What runs is not stopped by it."""
        self._wire.close()
        await self._wire.checkpoint()

    async def invoke(
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

        Raises:
            CallRefused: The service did not call the function.
            ConnectionLost: The service cannot be reached, or closed the connection before the answer was complete.
            RemoteProtocolError: The service said what it may not.
            Malformed: An argument cannot be said on this wire. Nothing was sent.
            Busy: Another task uses this caller.
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
        return await self._wire.run(exchanges.invoke(self._session, asked))

    async def invoke_with_response_stream(
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

        Raises:
            CallRefused: The service did not call the function.
            ConnectionLost: The service cannot be reached, or closed the connection instead of answering.
            RemoteProtocolError: The service said what it may not.
            Malformed: An argument cannot be said on this wire. Nothing was sent.
            Busy: Another task uses this caller.
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
        answer = await self._wire.run(exchanges.open_answer(self._session, asked))
        return StreamedAnswer(self._wire, answer)


class StreamedAnswer(AsyncIterator[bytes]):
    """A streamed answer: an iterator of its chunks as they arrive. Made by ``invoke_with_response_stream``."""

    def __init__(self, wire: AsyncWire, answer: exchanges.OpenAnswer) -> None:
        self._wire = wire
        self._answer = answer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the rest of the answer up, with its connection. The function runs on.

        Raises:
            Busy: Another task uses this caller.
        """
        await self._wire.run(exchanges.drop_answer(self._answer), even_cancelled=True)

    @property
    def accepted(self) -> InvokeAccepted:
        """What the head of the answer said: the function's content type, the request id."""
        return self._answer.accepted

    @property
    def complete(self) -> InvokeComplete | None:
        """How the answer ended: with an error of the function, with the log; ``None`` before its end."""
        return self._answer.complete

    async def __anext__(self) -> bytes:
        """Return the next chunk as soon as it is there.

        Raises:
            StopAsyncIteration: The answer is ``complete``.
            CallFailed: The service ended the stream with an exception or error message.
            ConnectionLost: The connection ended before the answer was complete.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The caller has made another call, or this answer was closed.
            Busy: Another task uses this caller.
        """
        chunk = await self._wire.run(exchanges.next_chunk(self._answer))
        if chunk is None:
            raise StopAsyncIteration
        return chunk
