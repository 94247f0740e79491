"""The response writer: for code that writes its response instead of returning it.

def handler(event, context):
    with context.response_writer() as response:
        response.send_http_head(status_code=200, headers={"content-type": "text/plain"})
        response.write("one ")
        response.write_and_finish("two")
        work_that_the_caller_need_not_wait_for()

async def handler(event, context):
    async with context.response_writer() as response:
        await response.write("one ")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Self

from lambda_wire._errors import LocalProtocolError
from lambda_wire._prelude import require_text_value
from lambda_wire._responses import HttpResponse
from lambda_wire._types import BytesLike
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.failures import is_cancellation
from lambda_wire.bootstrap.slot_loop import SlotLoop

__all__ = ["AsyncResponseWriter", "ResponseWriter"]


class ResponseWriter:
    """Writes the streamed response to one invocation. Every write leaves at once.

    As a context manager it finishes the response at the end of the block, unless that was done inside. A block that
    raises ends the response with the error, if it had begun; if it had not, the exception decides, as it does for every
    handler. One that is cancelled leaves it to who has cancelled it to say why. Without ``with``, the response is
    finished when the handler returns.

    Used wrongly, it raises ``LocalProtocolError`` and nothing is sent: the response can go on, and the error can still
    be reported.

    Args:
        answer: What is written.
        loop: Where an async handler runs.

    Raises:
        LocalProtocolError: The invocation has a writer already.
    """

    def __init__(self, answer: Answer, loop: SlotLoop) -> None:
        if answer.claimed:
            raise LocalProtocolError("this invocation has a response writer already: keep the first")
        answer.claimed = True
        self._answer = answer
        self._loop = loop

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        answer = self._answer
        with answer.saying:
            if answer.ended:
                return
            if fault is None:
                answer.finish()
            elif answer.begun and is_cancellation(fault):
                answer.break_off(fault)
            elif answer.begun:
                answer.fail(fault)

    async def __aenter__(self) -> AsyncResponseWriter:
        return AsyncResponseWriter(self, self._loop)

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._loop.post(partial(self.__exit__, kind, fault, at))

    @property
    def finished(self) -> bool:
        """Whether nothing can be written any more."""
        return self._answer.ended

    def set_content_type(self, content_type: str) -> None:
        """Say what kind of data this is. Without it, ``application/octet-stream``.

        Raises:
            LocalProtocolError: The response has begun.
            Malformed: It is no header value.
        """
        self._require_unbegun("the content type")
        require_text_value(content_type, "content_type")
        self._answer.content_type = content_type

    def send_http_head(
        self,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
        multi_value_headers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Begin an HTTP response. The head leaves at once; its arguments are those of ``HttpResponse``.

        Raises:
            LocalProtocolError: The response has begun.
            Malformed: Something of it cannot be sent; the message says what.
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``.
        """
        with self._answer.saying:
            self._require_unbegun("the HTTP head")
            response = HttpResponse(
                status_code=status_code, headers=headers, cookies=cookies, multi_value_headers=multi_value_headers
            )
            self._answer.send_prelude(response.prelude)

    def write(self, data: BytesLike | str) -> None:
        """Send data at once; text travels as UTF-8. Nothing is sent for empty data.

        Raises:
            TypeError: It is neither bytes nor text.
            LocalProtocolError: The response is finished.
            StreamInterrupted, ConnectionLost, ProtocolError: The service has answered already or went away: stop.
        """
        self._answer.write(data)

    def finish(self) -> None:
        """Complete the response. The caller has it whole; the handler may go on working.

        Raises:
            LocalProtocolError: It is finished already.
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``.
        """
        self._answer.finish()

    def write_and_finish(self, data: BytesLike | str) -> None:
        """``write``, then ``finish``.

        Raises:
            TypeError: It is neither bytes nor text.
            LocalProtocolError: The response is finished.
            StreamInterrupted, ConnectionLost, ProtocolError: As ``write``.
        """
        self._answer.write(data)
        self._answer.finish()

    def _require_unbegun(self, what: str) -> None:
        if self._answer.begun:
            raise LocalProtocolError(f"{what} must be given before the first byte: the response has begun")


class AsyncResponseWriter:
    """The same for async handlers: whoever reads slowly holds up this handler, and no other.

    Made by ``async with context.response_writer()``.
    """

    def __init__(self, writer: ResponseWriter, loop: SlotLoop) -> None:
        self._writer = writer
        self._loop = loop

    @property
    def finished(self) -> bool:
        """Whether nothing can be written any more."""
        return self._writer.finished

    def set_content_type(self, content_type: str) -> None:
        """As ``ResponseWriter.set_content_type``."""
        self._writer.set_content_type(content_type)

    async def send_http_head(
        self,
        *,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        cookies: Sequence[str] = (),
        multi_value_headers: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """As ``ResponseWriter.send_http_head``."""
        await self._loop.post(
            partial(
                self._writer.send_http_head,
                status_code=status_code,
                headers=headers,
                cookies=cookies,
                multi_value_headers=multi_value_headers,
            )
        )

    async def write(self, data: BytesLike | str) -> None:
        """As ``ResponseWriter.write``."""
        await self._loop.post(partial(self._writer.write, data))

    async def finish(self) -> None:
        """As ``ResponseWriter.finish``."""
        await self._loop.post(self._writer.finish)

    async def write_and_finish(self, data: BytesLike | str) -> None:
        """As ``ResponseWriter.write_and_finish``."""
        await self._loop.post(partial(self._writer.write_and_finish, data))
