"""The in-process Lambda that users' tests are given."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import threading
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

import pytest

from lambda_wire._malformed import Malformed
from lambda_wire._names import (
    ENV_FUNCTION_MEMORY_SIZE,
    ENV_FUNCTION_NAME,
    ENV_FUNCTION_VERSION,
    ENV_LOG_GROUP_NAME,
    ENV_LOG_STREAM_NAME,
    HTTP_INTEGRATION_RESPONSE,
)
from lambda_wire._responses import HttpResponse, StreamingResponse
from lambda_wire.testing import FunctionError, LocalLambda

_OF_FUNCTION: Final = (
    *(ENV_FUNCTION_NAME, ENV_FUNCTION_VERSION, ENV_FUNCTION_MEMORY_SIZE),
    *(ENV_LOG_GROUP_NAME, ENV_LOG_STREAM_NAME),
)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Leaving the ``with`` block ends every thread, however it was left."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before  # one of another test's may have ended meanwhile


def ended_handlers() -> None:
    """Wait for what was left to itself."""
    for thread in threading.enumerate():
        if thread.name == "lambda-wire-handler":
            thread.join(30)


def test_json_goes_in_and_json_comes_out() -> None:
    """Any value that JSON can say."""
    with LocalLambda(lambda event, _: {"got": event}) as fn:
        for value in (None, 1, "é\ud800", [1, {"a": None}]):
            assert fn.invoke(value) == {"got": value}


def test_bytes_come_out_as_they_are() -> None:
    """What is not JSON is not parsed, and no stream is, whatever its type."""
    with LocalLambda(lambda _, __: StreamingResponse([b"a", b"\xff"])) as fn:
        assert fn.invoke({}) == b"a\xff"
    with LocalLambda(lambda _, __: StreamingResponse([b"[1", b"]"], content_type="application/json")) as fn:
        assert fn.invoke({}) == b"[1]"


def test_an_event_that_invoke_refuses_is_refused() -> None:
    """6 MiB of JSON is the limit, and allowed; the function is not called."""
    lengths: list[int] = []

    def handler(event: str, context: object) -> None:
        lengths.append(len(event))

    limit = 6 * 1024 * 1024
    with LocalLambda(handler) as fn:
        for refuse in (fn.invoke, fn.stream):
            with pytest.raises(Malformed, match="Request must be smaller than 6291456 bytes"):
                refuse("x" * (limit - 1))
        fn.invoke("x" * (limit - 2))
    assert lengths == [limit - 2]


def test_the_handler_runs_in_this_process_with_a_context() -> None:
    """So that a test can see what it did."""

    def handler(event: object, context: Any) -> object:
        return [os.getpid(), bool(context.aws_request_id), context.client_context.custom]

    with LocalLambda(handler) as fn:
        assert fn.invoke({}, client_context={"custom": {"a": 1}}) == [os.getpid(), True, {"a": 1}]


def test_the_context_says_what_that_of_lambda_wire_local_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a handler finds there what it finds on AWS. What the test has set wins: the handler sees that, too."""
    for name in _OF_FUNCTION:
        monkeypatch.delenv(name, raising=False)

    def handler(event: object, context: Any) -> object:
        assert int(context.memory_limit_in_mb) > 0
        of_function = [context.function_name, context.function_version, context.memory_limit_in_mb]
        return [*of_function, context.log_group_name, context.log_stream_name]

    with LocalLambda(handler) as fn:
        assert fn.invoke({}) == ["function", "$LATEST", "3008", "/aws/lambda/function", "$LATEST"]
        assert ENV_FUNCTION_NAME not in os.environ
        monkeypatch.setenv(ENV_FUNCTION_NAME, "mine")
        monkeypatch.setenv(ENV_FUNCTION_MEMORY_SIZE, "128")
        assert fn.invoke({})[:3] == ["mine", "$LATEST", "128"]


@pytest.mark.parametrize("before", ["Root=mine", None])
def test_the_environment_is_the_tests_own(before: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sets ``_X_AMZN_TRACE_ID`` finds it again, the handler too; others run in this process (RT-MANAGED-9)."""
    monkeypatch.setenv("_X_AMZN_TRACE_ID", before or "")
    if before is None:
        monkeypatch.delenv("_X_AMZN_TRACE_ID")
    environment = dict(os.environ)

    def inner(event: object, context: Any) -> list[object]:
        return [dict(os.environ) == environment, context.trace_id.startswith("Root=")]

    def outer(event: object, context: Any) -> object:
        return [*inner(event, context), other.invoke({}), *inner(event, context)]

    with LocalLambda(inner) as other, LocalLambda(outer) as fn:
        assert fn.invoke({}) == [True, True, [True, True], True, True]
        assert dict(os.environ) == environment


def test_a_failure_is_raised_with_all_that_is_known_of_it() -> None:
    """And the next invocation is served."""

    def handler(event: Any, context: object) -> object:
        return 1 / event

    with LocalLambda(handler) as fn:
        with pytest.raises(FunctionError, match=r"^ZeroDivisionError: division by zero$") as caught:
            fn.invoke(0)
        assert caught.value.error_type == "ZeroDivisionError"
        assert caught.value.error_message == "division by zero"
        assert "return 1 / event" in caught.value.stack_trace[-1]
        assert fn.invoke(1) == 1.0


def test_pieces_come_as_they_are_written() -> None:
    """The second is written only after the first was seen."""
    seen = threading.Event()

    def handler(event: object, context: object) -> Iterator[bytes]:
        yield b"one"
        assert seen.wait(30)
        yield b"two"

    with LocalLambda(handler) as fn:
        stream = fn.stream({})
        assert next(stream) == b"one"
        seen.set()
        assert list(stream) == [b"two"]


def test_async_handlers_stream_too() -> None:
    """As they do on Lambda."""

    async def handler(event: int, context: object) -> AsyncIterator[str]:
        async def numbers() -> AsyncIterator[str]:
            for number in range(event):
                yield str(number)

        return numbers()

    with LocalLambda(handler) as fn:
        assert list(fn.stream(3)) == [b"0", b"1", b"2"]


def test_the_prelude_of_a_stream_is_no_part_of_its_pieces() -> None:
    """Status, headers and cookies are to be had beside them, however much of the body came along."""
    response = HttpResponse(status_code=201, headers={"x-a": "b"}, cookies=["c=1"], body=["a", "b"])
    with LocalLambda(lambda _, __: response) as fn:
        stream = fn.stream({})
        assert stream.prelude == response.prelude
        assert stream.content_type == HTTP_INTEGRATION_RESPONSE
        assert list(stream) == [b"a", b"b"]
    whole = StreamingResponse([b"{}" + b"\0" * 8 + b"body"], content_type=HTTP_INTEGRATION_RESPONSE)
    with LocalLambda(lambda _, __: whole) as fn:
        assert list(fn.stream({})) == [b"body"]


def test_a_stream_without_prelude_has_a_content_type() -> None:
    with LocalLambda(lambda _, __: StreamingResponse(["a"], content_type="text/plain")) as fn:
        stream = fn.stream({})
        assert (stream.content_type, stream.prelude) == ("text/plain", None)
        assert list(stream) == [b"a"]


def test_a_failed_stream_raises_at_its_end() -> None:
    """After every piece that came before."""

    def handler(event: object, context: object) -> Iterator[bytes]:
        yield b"begun"
        raise KeyError("midway")

    with LocalLambda(handler) as fn:
        stream = fn.stream({})
        assert next(stream) == b"begun"
        with pytest.raises(FunctionError) as caught:
            next(stream)
        assert caught.value.error_type == "KeyError"


def test_a_stream_that_fails_before_it_begins_raises_at_once() -> None:
    """It has no content type and no pieces."""
    with LocalLambda(lambda _, __: 1 / 0) as fn:
        stream = fn.stream({})
        for use in (lambda: stream.content_type, lambda: stream.prelude, lambda: next(stream)):
            with pytest.raises(FunctionError, match="division by zero"):
                use()


def test_a_stream_that_fails_within_its_prelude_has_none() -> None:
    """What it is was said before; what it should have had was not."""

    def pieces() -> Iterator[bytes]:
        yield b"{"
        raise KeyError("midway")

    response = StreamingResponse(pieces(), content_type=HTTP_INTEGRATION_RESPONSE)
    with LocalLambda(lambda _, __: response) as fn:
        stream = fn.stream({})
        assert stream.content_type == HTTP_INTEGRATION_RESPONSE
        for use in (lambda: stream.prelude, lambda: next(stream)):
            with pytest.raises(FunctionError, match="midway"):
                use()


def test_a_stream_beyond_its_limit_is_given_up_to_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The piece that exceeds it is cut one byte beyond it, as AWS was recorded to."""
    monkeypatch.setattr("lambda_wire._limits.MAX_STREAM", 8)
    caplog.set_level(logging.INFO, "lambda_wire.local")
    with LocalLambda(lambda _, __: StreamingResponse([b"12345", b"67890", b"more"])) as fn:
        stream = fn.stream({})
        assert [next(stream), next(stream)] == [b"12345", b"6789"]
        with pytest.raises(FunctionError) as caught:
            next(stream)
        assert caught.value.error_type == "Function.ResponseSizeTooLarge"
        fn.invoke({})  # the lines of an invocation are complete when the next one runs
    report = next(message for message in caplog.messages if message.startswith("REPORT"))
    assert "\tBytes: 9\t" in report
    assert report.endswith("Status: error")


@pytest.mark.parametrize("pieces", [[b"{}"], [b"nonsense" + b"\0" * 8], [b" " * 20_000]])
def test_a_stream_without_the_prelude_it_promised_is_malformed(pieces: list[bytes]) -> None:
    """Whoever looks, and however often, is told the same (FU-PRELUDE-3, FU-PRELUDE-12)."""
    response = StreamingResponse(pieces, content_type=HTTP_INTEGRATION_RESPONSE)
    with LocalLambda(lambda _, __: response) as fn:
        stream = fn.stream({})
        reasons: list[str] = []
        for look in (lambda: next(stream), lambda: stream.prelude, lambda: stream.content_type, lambda: next(stream)):
            with pytest.raises(Malformed) as caught:
                look()
            reasons.append(str(caught.value))
        assert len(set(reasons)) == 1


def test_a_stream_without_its_prelude_holds_nobody_up() -> None:
    """The rest of it is thrown away: the function runs to its end."""
    ended = threading.Event()

    def body() -> Iterator[bytes]:
        yield from [b"x" * 65_536] * 400
        ended.set()

    with LocalLambda(lambda _, __: StreamingResponse(body(), content_type=HTTP_INTEGRATION_RESPONSE)) as fn:
        stream = fn.stream({})
        with pytest.raises(Malformed, match="within 16384 bytes"):
            next(stream)
        assert ended.wait(20)


@pytest.mark.parametrize("begun", [False, True])
def test_a_closed_stream_is_over(begun: bool) -> None:
    """At once, while the function still runs: what is known of it stays, nobody waits for more."""
    runs, release = threading.Event(), threading.Event()

    def body() -> Iterator[bytes]:
        yield b"one"
        runs.set()
        release.wait(30)
        yield b"two"

    response = HttpResponse(status_code=201, body=body())
    with LocalLambda(lambda _, __: response) as fn:
        stream = fn.stream({})
        if begun:
            assert stream.prelude == response.prelude
        assert runs.wait(30)
        stream.close()
        assert list(stream) == []
        known = (HTTP_INTEGRATION_RESPONSE, response.prelude) if begun else ("", None)
        assert (stream.content_type, stream.prelude) == known
        assert not release.is_set()
        release.set()


def test_a_stream_that_is_left_early_disturbs_nothing() -> None:
    """The function runs to its end, and the next invocation is served."""
    ended = threading.Event()

    def handler(event: int, context: object) -> object:
        def numbers() -> Iterator[bytes]:
            for _ in range(event):
                yield b"x" * 65_536
            ended.set()

        return numbers()

    with LocalLambda(handler) as fn:
        for _ in fn.stream(100):
            break
        assert ended.wait(30)
        assert fn.invoke(1) == b"x" * 65_536


def test_leaving_the_block_ends_a_stream_that_never_ends() -> None:
    """The generator is closed: its ``finally`` runs."""
    closed = threading.Event()

    def handler(event: object, context: object) -> Iterator[bytes]:
        try:
            while True:
                yield b"x"
        finally:
            closed.set()

    with LocalLambda(handler) as fn:
        stream = fn.stream({})
        next(stream)
    assert closed.wait(30)
    with pytest.raises(RuntimeError, match="inside its with block"):
        for _ in stream:
            pass
    stream.close()


def test_a_timeout_is_enforced() -> None:
    """The caller is told; the next invocation gets another thread."""
    release = threading.Event()

    def handler(event: object, context: object) -> object:
        if event == "wait":
            release.wait(30)
        return event

    with LocalLambda(handler, timeout_s=0.1) as fn:
        with pytest.raises(FunctionError) as caught:
            fn.invoke("wait")
        assert caught.value.error_type == "Sandbox.Timedout"
        assert caught.value.error_message.endswith("Task timed out after 0.10 seconds")
        assert fn.invoke("again") == "again"
    release.set()
    ended_handlers()


def test_environments_run_at_once() -> None:
    """Two invocations that wait for each other both end."""
    meeting = threading.Barrier(2, timeout=30)

    def handler(event: object, context: object) -> Iterator[bytes]:
        meeting.wait()
        yield b"met"

    with LocalLambda(handler, environments=2) as fn:
        streams = [fn.stream({}) for _ in range(2)]
        assert [list(stream) for stream in streams] == [[b"met"], [b"met"]]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (SystemExit(7), "SystemExit: 7"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit("why"), "GeneratorExit: why"),
    ],
)
def test_a_handler_that_ends_its_process_is_replaced(fault: BaseException, message: str) -> None:
    """The invocation fails, and the next one is served by another thread."""
    threads: list[threading.Thread] = []

    def handler(event: object, context: object) -> None:
        threads.append(threading.current_thread())
        if event == "end":
            raise fault

    with LocalLambda(handler) as fn:
        with pytest.raises(FunctionError, match=f"{message}$"):
            fn.invoke("end")
        fn.invoke({})
    assert threads[0] is not threads[1]


def test_the_url_is_a_function_url() -> None:
    """And Invoke is on the same port."""
    with LocalLambda(lambda event, _: event.get("rawPath", "invoked")) as fn:
        with urllib.request.urlopen(f"{fn.url}/here") as answer:
            assert answer.read() == b"/here"
        invoke = f"{fn.url}/2015-03-31/functions/f/invocations"
        with urllib.request.urlopen(urllib.request.Request(invoke, b"{}")) as answer:
            assert json.loads(answer.read()) == "invoked"


def test_it_works_inside_its_block_only() -> None:
    fn = LocalLambda(lambda event, _: event)
    for use in (lambda: fn.url, lambda: fn.invoke({}), lambda: fn.stream({})):
        with pytest.raises(RuntimeError, match="inside its with block"):
            use()


def test_it_can_be_entered_again() -> None:
    """One after the other."""
    fn = LocalLambda(lambda event, _: event)
    for value in (1, 2):
        with fn:
            assert fn.invoke(value) == value


def test_a_handler_that_does_not_end_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread cannot be killed; a test that leaves one behind whose caller still waits must not pass."""
    monkeypatch.setattr("lambda_wire.testing.local_lambda._PATIENCE_S", 0.05)
    release = threading.Event()

    def handler(event: object, context: object) -> Iterator[bytes]:
        yield b"begun"
        release.wait(30)

    with pytest.raises(RuntimeError, match="still runs"), LocalLambda(handler) as fn:
        next(fn.stream({}))
    release.set()
    ended_handlers()


def answered(release: threading.Event) -> str:
    release.wait(30)
    return "late"


def streamed(release: threading.Event) -> Iterator[bytes]:
    yield b"begun"
    release.wait(30)
    yield b"late"


async def awaited(release: threading.Event) -> str:
    await asyncio.to_thread(release.wait, 30)
    return "late"


@pytest.mark.parametrize("late", [answered, streamed, awaited])
def test_a_handler_that_exceeded_its_time_is_left_to_itself(
    late: Callable[[threading.Event], object], capsys: pytest.CaptureFixture[str]
) -> None:
    """Its caller was told: neither the end of the block nor anybody who reads the log hears of it again."""
    release = threading.Event()
    with LocalLambda(lambda _, __: late(release), timeout_s=0.05, environments=2) as fn:
        for _ in range(3):
            with pytest.raises(FunctionError, match=r"^Sandbox\.Timedout: "):
                fn.invoke({})
    release.set()
    ended_handlers()
    assert capsys.readouterr().err == ""


def test_those_that_do_not_end_are_waited_for_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """One patience for all of them."""
    monkeypatch.setattr("lambda_wire.testing.local_lambda._PATIENCE_S", 0.05)
    patiences: list[float | None] = []
    join = threading.Thread.join

    def recorded(thread: threading.Thread, timeout: float | None = None) -> None:
        if thread.name == "lambda-wire-handler":
            patiences.append(timeout)
        join(thread, timeout)

    monkeypatch.setattr(threading.Thread, "join", recorded)
    release = threading.Event()
    fn = LocalLambda(lambda _, __: streamed(release), environments=2)
    with pytest.raises(RuntimeError, match="still runs"), fn:
        assert [next(stream) for stream in [fn.stream({}), fn.stream({})]] == [b"begun"] * 2
    first, second = patiences
    assert first is not None
    assert second is not None
    assert second < first <= 0.05
    release.set()
    monkeypatch.undo()
    ended_handlers()


def test_a_handler_is_a_function() -> None:
    """And no name of one: said before anything is started."""
    name: Any = "app.handler"
    with pytest.raises(TypeError, match="expected a handler that takes"):
        LocalLambda(name)


WRONG: Final = (
    *({"environments": count} for count in (0, -1)),
    *({"timeout_s": seconds} for seconds in (0, -1.0, 1_000_001, math.inf, math.nan)),
)


@pytest.mark.parametrize("wrong", WRONG)
def test_a_lambda_without_environments_or_time(wrong: dict[str, Any]) -> None:
    """It would leave its callers waiting for ever, or could not tell its handler of its deadline.

    It is refused when it is entered, and nothing is left of it.
    """
    with pytest.raises(ValueError, match="expected environments and seconds"), LocalLambda(lambda _, __: 1, **wrong):
        pass


@pytest.mark.filterwarnings("error")
def test_a_lambda_that_ends_while_it_starts_leaves_no_socket_open() -> None:
    """The environment of a first call is being started just then."""
    for _ in range(5):
        with LocalLambda(lambda _event, _context: None) as function:
            function.stream({})
        gc.collect()
