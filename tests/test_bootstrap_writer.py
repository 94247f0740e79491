"""The response writer says what it is told, at once, and its misuse can still be reported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from lambda_wire import LocalProtocolError, Refused, ResponseStarted, StreamInterrupted
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.writer import AsyncResponseWriter, ResponseWriter
from tests.bootstrap_parts import RecordingRuntime, invocation, served

WHOLE = ["ResponseStarted", "ResponseChunk", "ResponseFinished"]


def wrote(use: Callable[[ResponseWriter], object], **faults: Any) -> RecordingRuntime:
    """Let a handler use the writer in a ``with`` block."""

    def handler(event: object, context: LambdaContext) -> None:
        with context.response_writer() as response:
            use(response)

    return served(handler, **faults)


def test_each_write_leaves_at_once() -> None:
    """The head leaves with the first; empty data is nothing; the end of the block finishes (RS-CHUNK-3)."""
    seen: list[list[int]] = []
    runtime = RecordingRuntime(invocation())

    def handler(event: object, context: LambdaContext) -> None:
        with context.response_writer() as response:
            for data in (b"", "ä", bytearray(b"b"), memoryview(b"c")):
                response.write(data)
                seen.append(list(runtime.writes))
            assert not response.finished
        assert response.finished

    from lambda_wire.bootstrap import serve_handler

    serve_handler(handler, runtime)
    assert seen == [[], [2], [2, 1], [2, 1, 1]]
    assert runtime.body == ["ä".encode(), b"b", b"c"]
    assert runtime.kinds[-1] == "ResponseFinished"


def test_a_content_type_is_given_before_the_first_byte() -> None:
    def use(response: ResponseWriter) -> None:
        response.set_content_type("text/csv")
        response.write("a")

    assert wrote(use).said[0] == ResponseStarted(request_id="id-1", content_type="text/csv")


def test_an_http_head_leaves_when_it_is_given() -> None:
    """In a write of its own, which waits for no body."""

    def use(response: ResponseWriter) -> None:
        response.send_http_head(status_code=202, headers={"a": "b"}, cookies=["c=d"], multi_value_headers={"e": ["f"]})
        response.write("body")

    runtime = wrote(use)
    assert runtime.writes == [3, 1]
    assert runtime.body[1:] == [b"\0" * 8, b"body"]
    assert b'"multiValueHeaders":{"e":["f"]}' in runtime.body[0]


def test_a_response_may_be_empty() -> None:
    assert wrote(lambda response: None).kinds == ["ResponseStarted", "ResponseFinished"]
    assert wrote(lambda response: response.finish()).kinds == ["ResponseStarted", "ResponseFinished"]


def test_work_goes_on_after_the_response_was_finished() -> None:
    done: list[str] = []

    def use(response: ResponseWriter) -> None:
        response.write_and_finish("whole")
        done.append("after")

    assert wrote(use).kinds == WHOLE
    assert done == ["after"]


def test_without_with_the_response_is_finished_when_the_handler_returns() -> None:
    runtime = served(lambda event, context: context.response_writer().write("a"))
    assert runtime.kinds == WHOLE


def test_async_handlers_write_too() -> None:
    async def handler(event: object, context: LambdaContext) -> None:
        with context.response_writer() as response:
            response.write("a")

    assert served(handler).kinds == WHOLE


@pytest.mark.parametrize("finishes", [True, False])
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_a_generator_may_use_the_writer(finishes: bool, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """If it has finished the response, all is said, and nothing has failed; if it has not, its end does."""

    def generate(event: object, context: LambdaContext) -> Iterator[str]:
        response = context.response_writer()
        response.write("x")
        if finishes:
            response.finish()
        yield from ()

    async def generate_async(event: object, context: LambdaContext) -> AsyncIterator[str]:
        for piece in generate(event, context):
            yield piece

    assert served(generate if kind == "plain" else generate_async).kinds == WHOLE
    assert capsys.readouterr().err == ""


def test_what_a_generator_yields_after_it_has_finished_the_response_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its caller does not get it."""

    def generate(event: object, context: LambdaContext) -> Iterator[str]:
        context.response_writer().write_and_finish("x")
        yield "more"

    assert served(generate).kinds == WHOLE
    assert "[ERROR] LocalProtocolError" in capsys.readouterr().err


def test_a_writer_that_was_not_used_leaves_the_answer_to_the_handler() -> None:
    def handler(event: object, context: LambdaContext) -> int:
        context.response_writer()
        return 7

    assert served(handler).kinds == ["BufferedResponse"]


def test_a_value_beside_a_written_response_is_not_sent_but_said(capsys: pytest.CaptureFixture[str]) -> None:
    def handler(event: object, context: LambdaContext) -> int:
        with context.response_writer() as response:
            response.write("a")
        return 7

    assert served(handler).kinds == WHOLE
    assert "the handler used the response writer: the int that it returned is not sent" in capsys.readouterr().err


def after_finish(response: ResponseWriter) -> None:
    response.write_and_finish("x")


def after_a_byte(response: ResponseWriter) -> None:
    response.write("x")


MISUSE: list[tuple[Callable[[ResponseWriter], object], Callable[[ResponseWriter], object], str]] = [
    (after_finish, lambda response: response.write("more"), "complete"),
    (after_finish, lambda response: response.write(""), "complete"),
    (after_finish, lambda response: response.finish(), "complete"),
    (after_finish, lambda response: response.write_and_finish("more"), "complete"),
    (after_finish, lambda response: response.send_http_head(), "before the first byte"),
    (after_finish, lambda response: response.set_content_type("a/b"), "before the first byte"),
    (after_a_byte, lambda response: response.send_http_head(), "before the first byte"),
    (after_a_byte, lambda response: response.set_content_type("a/b"), "before the first byte"),
    (lambda response: response.send_http_head(), lambda response: response.send_http_head(), "before the first byte"),
]


@pytest.mark.parametrize(("first", "wrong", "message"), MISUSE)
def test_misuse_is_a_clear_error_and_sends_nothing(
    first: Callable[[ResponseWriter], object], wrong: Callable[[ResponseWriter], object], message: str
) -> None:
    """Caught, it changes nothing; the response ends as if it had not been."""
    expected = wrote(first).said

    def use(response: ResponseWriter) -> None:
        first(response)
        with pytest.raises(LocalProtocolError, match=message):
            wrong(response)

    assert wrote(use).said == expected


def test_misuse_that_is_not_caught_is_reported() -> None:
    """In trailers while the response is open; in the log after its end."""

    def late_head(response: ResponseWriter) -> None:
        response.write("x")
        response.send_http_head()

    def late_write(response: ResponseWriter) -> None:
        response.write_and_finish("x")
        response.write("y")

    runtime = wrote(late_head)
    assert runtime.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed"]
    assert runtime.error["errorType"] == "LocalProtocolError"
    assert wrote(late_write).kinds == WHOLE


@pytest.mark.parametrize("wrong", [7, None, ["a"]])
def test_only_bytes_and_text_can_be_written(wrong: Any) -> None:
    runtime = wrote(lambda response: response.write(wrong))
    assert runtime.kinds == ["ErrorReported"]
    assert runtime.error["errorType"] == "TypeError"


@pytest.mark.parametrize(
    "wrong",
    [
        lambda response: response.set_content_type("a\nb"),
        lambda response: response.send_http_head(headers={"Content-Length": "1"}),
        lambda response: response.send_http_head(headers={"a": "b" * 20_000}),
    ],
)
def test_what_cannot_travel_is_refused_before_anything_is_sent(wrong: Callable[[ResponseWriter], object]) -> None:
    runtime = wrote(wrong)
    assert runtime.kinds == ["ErrorReported"]
    assert runtime.error["errorType"] == "Malformed"


def test_an_invocation_has_one_writer() -> None:
    def handler(event: object, context: LambdaContext) -> None:
        context.response_writer()
        context.response_writer()

    runtime = served(handler)
    assert runtime.kinds == ["ErrorReported"]
    assert "keep the first" in runtime.error["errorMessage"]


# -- a handler that fails


def boom(response: ResponseWriter) -> None:
    raise ValueError("boom")


def test_a_failure_before_anything_was_sent_goes_to_error() -> None:
    assert wrote(boom).kinds == ["ErrorReported"]


def test_a_failure_after_that_goes_into_trailers(capsys: pytest.CaptureFixture[str]) -> None:
    """And into the log, once."""

    def use(response: ResponseWriter) -> None:
        response.write("x")
        boom(response)

    assert wrote(use).kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed"]
    assert capsys.readouterr().err.count("[ERROR]") == 1


def test_a_failure_after_the_end_is_only_logged(capsys: pytest.CaptureFixture[str]) -> None:
    def use(response: ResponseWriter) -> None:
        response.write_and_finish("x")
        boom(response)

    assert wrote(use).kinds == WHOLE
    err = capsys.readouterr().err
    assert "[ERROR] ValueError: boom" in err
    assert "lambda-wire: the response to id-1 had ended before: its caller is not told" in err


def test_a_block_that_failed_failed_the_response_even_if_the_handler_forgives_it() -> None:
    """Its data is not whole, so it must not look whole."""

    def handler(event: object, context: LambdaContext) -> str:
        try:
            with context.response_writer() as response:
                response.write("half")
                boom(response)
        except ValueError:
            return "forgiven"
        return "never"

    assert served(handler).kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed"]


def test_a_block_that_failed_before_the_first_byte_leaves_the_answer_open() -> None:
    def handler(event: object, context: LambdaContext) -> str:
        try:
            with context.response_writer() as response:
                boom(response)
        except ValueError:
            return "forgiven"
        return "never"

    assert served(handler).kinds == ["BufferedResponse"]


def test_a_writer_is_told_every_time_that_its_stream_was_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """Logged once; nothing more is posted; the loop goes on."""
    fault = StreamInterrupted(Refused(status=410))

    def use(response: ResponseWriter) -> None:
        response.write("x")
        for _ in range(2):
            with pytest.raises(StreamInterrupted):
                response.write("y")
        with pytest.raises(StreamInterrupted):
            response.finish()
        response.write("z")

    assert wrote(use, parts=(1, fault)).kinds == ["ResponseStarted", "ResponseChunk"]
    assert capsys.readouterr().err.count("\n") == 1


def test_a_writer_that_outlives_its_invocation_is_refused() -> None:
    kept: list[ResponseWriter] = []

    def handler(event: object, context: LambdaContext) -> int:
        kept.append(context.response_writer())
        return 7

    assert served(handler).kinds == ["BufferedResponse"]
    with pytest.raises(LocalProtocolError):
        kept[0].write("late")


# -- async


def wrote_async(use: Callable[[AsyncResponseWriter], Awaitable[object]], **faults: Any) -> RecordingRuntime:
    """Let an async handler use the writer in an ``async with`` block."""

    async def handler(event: object, context: LambdaContext) -> None:
        async with context.response_writer() as response:
            await use(response)

    return served(handler, **faults)


def test_the_async_writer_says_what_the_other_says() -> None:
    """Each of its words, in the same writes."""

    def use(response: ResponseWriter) -> None:
        response.set_content_type("text/csv")
        response.send_http_head(status_code=202, headers={"a": "b"}, cookies=["c=d"], multi_value_headers={"e": ["f"]})
        response.write("x")
        response.write(b"")
        assert not response.finished
        response.write_and_finish(bytearray(b"y"))
        assert response.finished

    async def use_async(response: AsyncResponseWriter) -> None:
        response.set_content_type("text/csv")
        await response.send_http_head(
            status_code=202, headers={"a": "b"}, cookies=["c=d"], multi_value_headers={"e": ["f"]}
        )
        await response.write("x")
        await response.write(b"")
        assert not response.finished
        await response.write_and_finish(bytearray(b"y"))
        assert response.finished

    expected, found = wrote(use), wrote_async(use_async)
    assert (found.said, found.writes) == (expected.said, expected.writes)


def test_the_end_of_an_async_block_finishes() -> None:
    """Unless that was done inside, or nothing was written."""

    async def nothing(response: AsyncResponseWriter) -> None:
        pass

    assert wrote_async(lambda response: response.write("x")).kinds == WHOLE
    assert wrote_async(lambda response: response.write_and_finish("x")).kinds == WHOLE
    assert wrote_async(lambda response: response.finish()).kinds == ["ResponseStarted", "ResponseFinished"]
    assert wrote_async(nothing).kinds == ["ResponseStarted", "ResponseFinished"]


@pytest.mark.parametrize(
    ("before", "kinds"), [("", ["ErrorReported"]), ("x", ["ResponseStarted", "ResponseChunk", "ResponseFailed"])]
)
def test_an_async_block_that_fails(before: str, kinds: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Its failure goes where it still can, once; and the log has it once."""

    async def use(response: AsyncResponseWriter) -> None:
        await response.write(before)
        raise ValueError("boom")

    runtime = wrote_async(use)
    assert (runtime.kinds, runtime.error["errorType"]) == (kinds, "ValueError")
    assert capsys.readouterr().err.count("[ERROR]") == 1


def test_an_async_writer_is_told_that_its_stream_was_interrupted(capsys: pytest.CaptureFixture[str]) -> None:
    """As the other: every time, and it is logged once."""

    async def use(response: AsyncResponseWriter) -> None:
        await response.write("x")
        for _ in range(2):
            with pytest.raises(StreamInterrupted):
                await response.write("y")
        await response.write("z")

    fault = StreamInterrupted(Refused(status=410))
    assert wrote_async(use, parts=(1, fault)).kinds == ["ResponseStarted", "ResponseChunk"]
    assert capsys.readouterr().err.count("\n") == 1


def test_async_misuse_is_a_clear_error_and_sends_nothing() -> None:
    """As the other's."""

    async def use(response: AsyncResponseWriter) -> None:
        await response.write_and_finish("x")
        for wrong in (
            response.write("more"),
            response.finish(),
            response.write_and_finish("more"),
            response.send_http_head(),
        ):
            with pytest.raises(LocalProtocolError):
                await wrong
        with pytest.raises(LocalProtocolError):
            response.set_content_type("a/b")

    assert wrote_async(use).kinds == WHOLE
