"""The caller's half of the blocking driver, ``lambda_wire.sync``."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from lambda_wire import exchanges
from lambda_wire._fields import as_bytes
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeAsked, InvokeComplete
from lambda_wire._sockets import Wire
from lambda_wire._types import BytesLike, Headers

__all__ = ["Caller", "StreamedAnswer"]


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
            timeout: Seconds for all of it: to reach the service, to send the call and to have the whole answer, which
                comes when the function has ended; ``None`` waits for ever.

        Raises:
            CallRefused: The service did not call the function.
            TimeoutError: The answer was not whole in time. The function may run; the next call uses another connection.
            ValueError: ``timeout`` is not a number. Nothing was sent.
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
            timeout: Seconds for all that comes before the chunks: to reach the service, to send the call and to have
                the head of the answer; then again for each chunk, from when it is asked for until it is there whole.
                ``None`` waits for ever.

        Raises:
            CallRefused: The service did not call the function.
            TimeoutError: The answer had not begun in time. The function may run; the next call uses another connection.
            ValueError: ``timeout`` is not a number. Nothing was sent.
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
            TimeoutError: It was not there whole in time. What came is kept: it may be asked for again.
            ConnectionLost: The connection ended before the answer was complete.
            RemoteProtocolError: The service said what it may not.
            LocalProtocolError: The caller has made another call, or this answer was closed.
            Busy: Another thread uses this caller.
        """
        chunk = self._wire.run(exchanges.next_chunk(self._answer), self._timeout)
        if chunk is None:
            raise StopIteration
        return chunk
