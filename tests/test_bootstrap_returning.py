"""What a handler returns decides what the wire carries; nothing of it is ever said twice."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import ExitStack, suppress
from decimal import Decimal
from typing import Any

import pytest

from lambda_wire import (
    Accepted,
    BufferedResponse,
    ConnectionLost,
    ErrorReported,
    HttpResponse,
    Refused,
    RemoteProtocolError,
    ResponseFailed,
    ResponseStarted,
    StreamingResponse,
    StreamInterrupted,
)
from lambda_wire._error_payload import MAX_TRAILER_DOCUMENT
from lambda_wire.bootstrap import slot_loop
from lambda_wire.bootstrap.alone import serve_alone
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.stopping import Stop
from lambda_wire.sync import Runtime, connect
from tests.bootstrap_parts import RecordingRuntime, invocation, served
from tests.running_local import PATIENCE_S
from tests.slot_parts import polls_of, service_of, told

STREAMED = ["ResponseStarted", "ResponseChunk", "ResponseFinished"]
TOO_LARGE = Refused(status=413, error_type="RequestEntityTooLarge", error_message="Exceeded.")


def returning(result: object) -> Callable[[object, object], object]:
    return lambda event, context: result


def pieces() -> Iterator[Any]:
    yield "ä"
    yield b""
    yield ""
    yield bytearray(b"b")
    yield memoryview(b"c")


async def async_pieces() -> AsyncIterator[bytes | str]:
    for piece in pieces():
        await asyncio.sleep(0)
        yield piece


class Source:
    """An async iterable that is no generator."""

    def __aiter__(self) -> AsyncIterator[bytes | str]:
        return Pull()


class Pull:
    """An async iterator that cannot be closed."""

    def __init__(self) -> None:
        self.left = pieces()

    def __aiter__(self) -> AsyncIterator[bytes | str]:
        return self

    async def __anext__(self) -> bytes | str:
        piece: bytes | str | None = next(self.left, None)
        if piece is None:
            raise StopAsyncIteration
        return piece


PIECES = ["ä".encode(), b"b", b"c"]


# -- the table


@pytest.mark.parametrize(
    ("result", "payload"),
    [
        (None, b"null"),
        ({"a": [1, "é", Decimal("1.0")]}, b'{"a": [1, "\\u00e9", 1.0]}'),
        ("text", b'"text"'),
        (["a", "b"], b'["a", "b"]'),
    ],
)
def test_a_value_is_a_buffered_json_response(result: object, payload: bytes) -> None:
    """And says so (RT-RESP-3)."""
    runtime = served(returning(result))
    assert runtime.said == [BufferedResponse(request_id="id-1", payload=payload)]


@pytest.mark.parametrize("result", [b"\x00\xff", bytearray(b"\x00\xff"), memoryview(b"\x00\xff")])
def test_bytes_are_a_buffered_response_as_they_are(result: object) -> None:
    (said,) = served(returning(result)).said
    assert said == BufferedResponse(request_id="id-1", payload=b"\x00\xff", content_type="application/octet-stream")


@pytest.mark.parametrize("make", [pieces, async_pieces, lambda: map(str.upper, ["a"]), Source])
def test_what_can_be_read_once_is_a_stream(make: Callable[[], object]) -> None:
    """Empty pieces are never sent; each other piece is one chunk, and one write.

    (RS-HEAD-5, RS-CHUNK-2, RS-CHUNK-3, RS-PRELUDE-1)
    """
    runtime = served(returning(make()))
    assert runtime.said[0] == ResponseStarted(request_id="id-1", content_type="application/octet-stream")
    assert runtime.body in (PIECES, [b"A"])
    assert runtime.kinds[-1] == "ResponseFinished"
    assert runtime.writes == [2] + [1] * (len(runtime.body) - 1)


@pytest.mark.parametrize("body", [pieces(), async_pieces(), list(pieces()), Source()])
def test_a_streaming_response_has_its_content_type(body: Any) -> None:
    """The one that it was given (RS-HEAD-5)."""
    runtime = served(returning(StreamingResponse(body, content_type="text/csv")))
    assert runtime.said[0] == ResponseStarted(request_id="id-1", content_type="text/csv")
    assert runtime.body == PIECES


@pytest.mark.parametrize("body", [b"text", "text"])
def test_a_body_that_is_whole_is_one_chunk(body: bytes | str) -> None:
    assert served(returning(StreamingResponse(body))).body == [b"text"]


@pytest.mark.parametrize("body", [b"", "", [], iter(()), ["", b""]])
def test_an_empty_stream_has_a_head_and_an_end(body: Any) -> None:
    assert served(returning(StreamingResponse(body))).kinds == ["ResponseStarted", "ResponseFinished"]


@pytest.mark.parametrize("body", [pieces(), async_pieces()])
def test_an_http_response_begins_with_its_prelude(body: Any) -> None:
    """JSON and delimiter are two chunks that leave with the head; the body follows in writes of its own.

    It shows FU-PRELUDE-3, RS-PRELUDE-1, RS-PRELUDE-3.
    """
    runtime = served(returning(HttpResponse(status_code=201, headers={"a": "b"}, cookies=["c=d"], body=body)))
    assert runtime.said[0] == ResponseStarted(
        request_id="id-1", content_type="application/vnd.awslambda.http-integration-response"
    )
    assert runtime.body == [b'{"statusCode":201,"headers":{"a":"b"},"cookies":["c=d"]}', b"\0" * 8, *PIECES]
    assert runtime.writes == [3, 1, 1, 1]
    assert runtime.kinds[-1] == "ResponseFinished"


def test_the_prelude_waits_for_no_byte_of_the_body() -> None:
    """It has left when the body is asked for its first (RS-PRELUDE-3)."""
    runtime = RecordingRuntime(invocation())
    seen: list[list[int]] = []

    def body() -> Iterator[bytes]:
        seen.append(list(runtime.writes))
        yield b"first"

    from lambda_wire.bootstrap import serve_handler

    serve_handler(returning(HttpResponse(body=body())), runtime)
    assert seen == [[3]]


def test_an_http_response_without_a_body_is_complete() -> None:
    """Its prelude is sent all the same (RS-PRELUDE-4)."""
    assert len(served(returning(HttpResponse(status_code=204))).body) == 2


def test_a_prelude_that_is_too_large_is_reported() -> None:
    """Nothing of it was sent, so the error can still go to ``/error``."""
    runtime = served(returning(HttpResponse(headers={"a": "b" * 20_000})))
    assert runtime.kinds == ["ErrorReported"]
    assert runtime.error["errorType"] == "Malformed"


# -- async


@pytest.mark.parametrize("result", [{"a": 1}, b"x", pieces, async_pieces, lambda: HttpResponse(body=async_pieces())])
def test_an_async_handler_may_return_what_a_plain_one_may(result: Any) -> None:
    async def handler(event: object, context: object) -> object:
        await asyncio.sleep(0)
        return result() if callable(result) else result

    expected = served(lambda event, context: result() if callable(result) else result)
    assert served(handler).said == expected.said


def test_async_handlers_share_one_event_loop() -> None:
    """It is kept across invocations, so that what a handler keeps (clients, locks) still works."""
    loops: list[asyncio.AbstractEventLoop] = []

    async def handler(event: object, context: object) -> None:
        loops.append(asyncio.get_running_loop())

    async def tell(loop: asyncio.AbstractEventLoop) -> AsyncIterator[bytes]:
        assert asyncio.get_running_loop() is loop
        yield b"same"

    results: list[Any] = [None, None]
    runtime = served(
        lambda event, context: tell(loops[0]) if event else handler(event, context),
        *(invocation(event) for event in (0, 0, 1)),
    )
    assert len(loops) == len(results)
    assert loops[0] is loops[1]
    assert loops[0].is_closed()
    assert runtime.body == [b"same"]


def test_a_handler_and_its_async_body_are_one_task() -> None:
    """What is held across ``yield``s belongs to the task that entered it."""
    tasks: set[Any] = set()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    async def body() -> AsyncIterator[str]:
        async with asyncio.timeout(60):
            for _ in range(3):
                tasks.add(asyncio.current_task())
                yield variable.get()
                await asyncio.sleep(0)

    async def handler(event: object, context: object) -> AsyncIterable[str]:
        tasks.add(asyncio.current_task())
        variable.set("held")
        return body()

    assert served(handler).body == [b"held"] * 3
    assert len(tasks) == 1


def test_a_cancelled_handler_is_a_failure_and_the_loop_goes_on() -> None:
    async def handler(event: object, context: object) -> object:
        if event == 1:
            raise asyncio.CancelledError
        return event

    runtime = served(handler, invocation(1), invocation(2))
    assert runtime.kinds == ["ErrorReported", "BufferedResponse"]
    assert runtime.error["errorType"] == "CancelledError"


def test_the_stack_of_an_async_failure_begins_in_the_handler() -> None:
    async def handler(event: object, context: object) -> None:
        raise ValueError("async")

    assert "in handler" in served(handler).error["stackTrace"][0]


# -- errors


def test_an_error_of_the_handler_goes_to_error_with_its_cause() -> None:
    """Type, document, and what X-Ray is told (ER-TYPE-1, ER-XRAY-1)."""

    def handler(event: object, context: object) -> None:
        raise ValueError("böse\r\n書")

    runtime = served(handler)
    (said,) = runtime.said
    assert isinstance(said, ErrorReported)
    assert (said.error_type, runtime.error["errorMessage"]) == ("ValueError", "böse\r\n書")
    assert '"label":"handler"' in said.xray_cause
    assert "in handler" in runtime.error["stackTrace"][0]


def test_a_type_name_that_would_break_a_header_is_reported() -> None:
    """As what a header can carry; the document has it whole (ER-TYPE-3)."""

    def handler(event: object, context: object) -> None:
        raise type("Evil\r\nX: yé", (Exception,), {})("bad")

    runtime = served(handler)
    assert isinstance(runtime.said[0], ErrorReported)
    assert runtime.said[0].error_type.isprintable()
    assert runtime.error["errorType"] == "Evil\r\nX: yé"


def failing(chunks: int, closed: list[str]) -> Iterator[bytes]:
    try:
        for _ in range(chunks):
            yield b"x"
        raise KeyError("mid")
    finally:
        closed.append("closed")


async def async_failing(chunks: int, closed: list[str]) -> AsyncIterator[bytes]:
    for chunk in failing(chunks, closed):
        yield chunk


FAILING = pytest.mark.parametrize("body", [failing, async_failing])


@FAILING
def test_an_error_before_the_first_byte_goes_to_error(body: Callable[..., Any]) -> None:
    """Nothing of a response was sent (RT-ERR-1)."""
    for wrap in (lambda body: body, StreamingResponse):
        runtime = served(returning(wrap(body(0, []))))
        assert runtime.kinds == ["ErrorReported"]
        assert runtime.error["errorType"] == "KeyError"


@FAILING
def test_an_error_after_the_first_byte_goes_into_trailers(body: Callable[..., Any]) -> None:
    """There is no other way then (RT-ERR-1, RS-END-2)."""
    closed: list[str] = []
    runtime = served(returning(body(1, closed)))
    assert runtime.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed"]
    assert (runtime.error["errorType"], runtime.error["errorMessage"]) == ("KeyError", "'mid'")
    assert closed == ["closed"]


def test_after_a_prelude_the_first_byte_is_gone() -> None:
    """The prelude is the beginning of the response (RS-PRELUDE-5)."""
    assert served(returning(HttpResponse(body=failing(0, [])))).kinds[-1] == "ResponseFailed"


def test_trailers_are_cut_to_fit() -> None:
    """The start of the message stays, and what was cut is shown (LI-TRAILER-1, ER-DOC-7, UN-9)."""

    def body() -> Iterator[bytes]:
        yield b"x"
        raise ValueError("é" * 5_000_000)

    runtime = served(returning(body()))
    assert isinstance(runtime.said[-1], ResponseFailed)
    assert len(runtime.said[-1].error_body) <= MAX_TRAILER_DOCUMENT
    assert "characters cut" in runtime.error["errorMessage"]


@pytest.mark.parametrize(("before", "kind"), [([], "ErrorReported"), ([b"x"], "ResponseFailed")])
@pytest.mark.parametrize("chunk", [7, None, ["list"], {"json": 1}])
def test_a_chunk_that_is_neither_bytes_nor_text_is_an_error(before: list[bytes], kind: str, chunk: object) -> None:
    closed: list[str] = []

    def body() -> Iterator[Any]:
        try:
            yield from before
            yield chunk
        finally:
            closed.append("closed")

    runtime = served(returning(body()))
    assert runtime.kinds[-1] == kind
    assert runtime.error["errorType"] == "TypeError"
    assert f"made of bytes or str, got {type(chunk).__name__}" in runtime.error["errorMessage"]
    assert closed == ["closed"]


def test_an_error_of_closing_is_reported() -> None:
    def body() -> Generator[Any, None, None]:
        try:
            yield b"x"
            yield 7
        finally:
            raise LookupError("in finally")

    assert served(returning(body())).error["errorType"] == "LookupError"


@pytest.mark.parametrize("stop", [SystemExit(3), KeyboardInterrupt()])
def test_what_ends_the_process_is_reported_first(stop: BaseException) -> None:
    def handler(event: object, context: object) -> None:
        raise stop

    runtime = RecordingRuntime(invocation(), invocation())
    from lambda_wire.bootstrap import serve_handler

    with pytest.raises(type(stop)):
        serve_handler(handler, runtime)
    assert runtime.kinds == ["ErrorReported"]
    assert runtime.error["errorType"] == "Runtime.ExitError"


# -- what the service says


def endless(closed: list[str]) -> Iterator[bytes]:
    try:
        while True:
            yield b"x"
    finally:
        closed.append("closed")


async def async_endless(closed: list[str]) -> AsyncIterator[bytes]:
    for chunk in endless(closed):
        yield chunk


@pytest.mark.parametrize("body", [endless, async_endless])
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (StreamInterrupted(TOO_LARGE), "refused the rest of it with 413 RequestEntityTooLarge: Exceeded."),
        (StreamInterrupted(Accepted()), "answered Accepted()"),
        (StreamInterrupted(None), "closed the connection"),
        (ConnectionLost("gone"), "gone"),
        (RemoteProtocolError("odd"), "odd"),
    ],
)
@pytest.mark.parametrize("at", [0, 2])
def test_a_stream_that_is_interrupted_is_closed_and_logged_once(
    body: Callable[..., Any], fault: Exception, said: str, at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing more is posted, and the loop goes on."""
    closed: list[str] = []
    runtime = served(lambda event, context: event or body(closed), invocation(), invocation(1), parts=(at, fault))
    assert closed == ["closed"]
    before = ["ResponseStarted", "ResponseChunk", "ResponseChunk"] if at else []
    assert runtime.kinds == [*before, "BufferedResponse"]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lambda-wire: the streamed response to id-1 was cut short: ")
    assert said in line


@pytest.mark.parametrize("status", [400, 410, 413])
@pytest.mark.parametrize("result", [1, pieces, lambda: 1 / 0, lambda: failing(1, [])])
def test_a_refusal_is_one_line_and_the_loop_goes_on(
    status: int, result: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is about one invocation (RT-RESP-16, UN-2)."""
    refusal = Refused(status=status, error_type="Sorry", error_message="No.")
    runtime = served(
        lambda event, context: result() if callable(result) else result, invocation(), invocation(), ends=refusal
    )
    ends = [kind for kind in runtime.kinds if kind not in STREAMED[:2]]
    assert len(ends) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("lambda-wire: ")]
    assert lines == [f"lambda-wire: the answer to id-1 was refused with {status} Sorry: No."] * 2


@pytest.mark.parametrize("result", [1, pieces, lambda: 1 / 0])
def test_an_answer_of_unknown_fate_is_not_repeated(result: Any, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither as it was, nor as an error (RT-RESP-15)."""
    runtime = served(
        lambda event, context: result() if callable(result) else result, ends=ConnectionLost("no answer came")
    )
    assert len([kind for kind in runtime.kinds if kind not in STREAMED[:2]]) == 1
    assert "lambda-wire: the answer to id-1 may not have arrived: no answer came" in capsys.readouterr().err


# -- around an invocation


def test_the_trace_id_is_in_the_environment_of_its_invocation_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of an invocation without one has none (RT-ENV-2)."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "stale")
    runtime = served(
        lambda event, context: os.environ.get("_X_AMZN_TRACE_ID"), invocation(trace_id="Root=1"), invocation()
    )
    assert [it.payload for it in runtime.said if isinstance(it, BufferedResponse)] == [b'"Root=1"', b"null"]
    assert "_X_AMZN_TRACE_ID" not in os.environ


def test_a_bad_event_is_reported_and_the_loop_goes_on() -> None:
    runtime = served(lambda event, context: event, invocation(payload=b"{"), invocation(2))
    assert runtime.kinds == ["ErrorReported", "BufferedResponse"]
    assert runtime.error["errorType"] == "Runtime.UnmarshalError"


def test_an_awaitable_that_is_no_coroutine_is_awaited() -> None:
    class Later:
        def __await__(self) -> Generator[Any, None, int]:
            yield from asyncio.sleep(0).__await__()
            return 7

    later: Awaitable[int] = Later()
    assert served(returning(later)).said == [BufferedResponse(request_id="id-1", payload=b"7")]


# -- a limit


def soon(limit_s: float | None, handler: Callable[[object, Any], object], *, margin_ms: int = 0) -> RecordingRuntime:
    """Let ``handler`` run with a deadline that is so far away; only its own waits give the limit a turn."""
    deadline_ms = None if limit_s is None else int((time.time() + limit_s) * 1000)
    runtime = RecordingRuntime(invocation(deadline_ms=deadline_ms), invocation("next"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slot_loop, "_TURN_S", PATIENCE_S)
        patch.setattr(slot_loop, "_PATIENCE_S", PATIENCE_S)
        with pytest.raises(ConnectionLost):
            serve_alone(Invoker(handler, alone=True, margin_ms=margin_ms), runtime, [], Stop())
    return runtime


@pytest.mark.parametrize("margin_ms", [0, 60_000])
def test_an_async_handler_is_cancelled_before_its_deadline(margin_ms: int) -> None:
    """So early that its failure still goes to ``/error``; its ``finally`` has run, and the next one is served."""
    ended: list[str] = []

    async def handler(event: object, context: object) -> object:
        if event == "next":
            return event
        try:
            return await asyncio.Event().wait()
        finally:
            ended.append("finally")

    runtime = soon(60 if margin_ms else 0.001, handler, margin_ms=margin_ms)
    assert runtime.kinds == ["ErrorReported", "BufferedResponse"]
    assert runtime.error["errorType"] == "TimeoutError"
    assert runtime.error["errorMessage"] == "the handler was cancelled, because its deadline is near"
    assert ended == ["finally"]


@pytest.mark.parametrize("swallows", [False, True])
def test_a_writer_that_is_cancelled_leaves_the_reason_to_who_cancelled_it(
    swallows: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """One failure, and the deadline's, goes into the trailers; a handler that keeps it ends no whole response."""

    async def handler(event: object, context: LambdaContext) -> object:
        if event == "next":
            return event
        try:
            async with context.response_writer() as response:
                await response.write("half")
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not swallows:
                raise
        return None

    runtime = soon(0.001, handler)
    assert runtime.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed", "BufferedResponse"]
    assert runtime.error["errorType"] == ("CancelledError" if swallows else "TimeoutError")
    assert capsys.readouterr().err.count("[ERROR]") == 1


def test_an_async_body_is_cancelled_before_its_deadline() -> None:
    """What was sent is not whole, and does not look whole: the failure is in the trailers."""
    ended: list[str] = []

    async def body() -> AsyncIterator[bytes]:
        try:
            yield b"half"
            await asyncio.Event().wait()
        finally:
            ended.append("finally")

    async def streamed() -> object:
        return StreamingResponse(body())

    for make in (body, streamed):
        runtime = soon(0.001, lambda event, context, make=make: event or make())  # type: ignore[misc]  # the default
        assert runtime.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed", "BufferedResponse"]
        assert runtime.error["errorMessage"] == "the handler was cancelled, because its deadline is near"
    assert ended == ["finally"] * 2


def test_a_slow_reader_holds_up_no_limit() -> None:
    """Of a real connection that nobody reads, so that a write blocks: the handler is cancelled in time, also alone."""
    cancelled, ended = threading.Event(), threading.Event()

    async def handler(event: object, context: LambdaContext) -> object:
        async with context.response_writer() as response:
            try:
                while True:
                    await response.write(b"x" * 1_000_000)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    def serve(runtime: Runtime) -> None:
        with suppress(ConnectionLost):
            serve_alone(Invoker(handler, alone=True, margin_ms=0), runtime, [], Stop())
        ended.set()

    with service_of() as (address, listener), ExitStack() as stack, connect(address) as runtime:
        threading.Thread(target=serve, args=(runtime,)).start()
        (held,) = polls_of(listener, 1, stack)
        told(held, None, deadline_ms=int((time.time() + 0.5) * 1000))
        assert isinstance(held.hear(), ResponseStarted)
        assert cancelled.wait(PATIENCE_S)
        held.wire.close()
        (held,) = polls_of(listener, 1, stack)
        runtime.stop_polling()
        assert ended.wait(PATIENCE_S)


def test_a_timeout_of_the_handler_is_its_own() -> None:
    """It is reported as it was raised."""

    async def handler(event: object, context: object) -> None:
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    async def raising(event: object, context: object) -> None:
        raise TimeoutError("mine")

    assert soon(60, lambda event, context: event or handler(event, context)).error["errorMessage"] == ""
    assert soon(60, lambda event, context: event or raising(event, context)).error["errorMessage"] == "mine"


def test_a_deadline_that_nobody_gave_limits_nothing() -> None:
    """Nor does one when no margin was asked for: that handler runs past it (RT-NEXT-16)."""

    async def handler(event: object, context: object) -> object:
        await asyncio.sleep(0)
        return event

    assert soon(None, handler).kinds == ["BufferedResponse"] * 2
    assert served(handler, invocation(deadline_ms=1)).kinds == ["BufferedResponse"]


def test_a_deadline_that_has_passed_cancels_at_the_first_wait() -> None:
    """And not before it: what need not wait is answered."""

    async def waits(event: object, context: object) -> None:
        await asyncio.Event().wait()

    async def returns(event: object, context: object) -> int:
        return 7

    assert soon(-1, lambda event, context: event or waits(event, context)).kinds[0] == "ErrorReported"
    assert soon(-1, lambda event, context: event or returns(event, context)).kinds[0] == "BufferedResponse"
