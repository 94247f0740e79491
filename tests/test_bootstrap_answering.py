"""One invocation has one answer, whoever gives it, and whatever becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lambda_wire import (
    Accepted,
    BufferedResponse,
    Busy,
    ConnectionLost,
    ErrorReported,
    HttpResponse,
    Invocation,
    LocalProtocolError,
    NextAsked,
    Refused,
    ResponseChunk,
    ResponseFinished,
    ResponseStarted,
    StreamInterrupted,
)
from lambda_wire._types import BytesLike
from lambda_wire.bootstrap import serve_handler
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.sync import ResponseStream, connect
from lambda_wire.testing import FunctionError, LocalLambda
from tests.bootstrap_parts import RecordingRuntime, Said, ScriptedService, invocation, served
from tests.running_local import PATIENCE_S
from tests.slot_parts import running_child

# -- several threads

THREADS = """
import threading
def handler(event, context):
    with context.response_writer() as response:
        response.write(b"<")
        def more(letter):
            for _ in range(200):
                response.write(letter * 20_000)
        threads = [threading.Thread(target=more, args=(letter,)) for letter in (b"a", b"b", b"c")]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        response.write(b">")
"""


def test_a_handler_may_write_from_several_threads(tmp_path: Path) -> None:
    """What they say goes out one after the other, whole; none is turned away, and the next invocation is served."""
    service = ScriptedService(invocation(), invocation())
    with service, running_child(service.address, THREADS, tmp_path) as child:
        assert service.idle.wait(PATIENCE_S)
        child.send()
        assert child.end() == (0, "", "")
    kinds = [type(it) for it in service.asked]
    assert (kinds.count(ResponseStarted), kinds.count(ResponseFinished), kinds.count(NextAsked)) == (2, 2, 3)
    data = b"".join(it.data for it in service.asked if isinstance(it, ResponseChunk))
    assert len(data) == 2 * (3 * 200 * 20_000 + 2)
    assert (data.count(b"<"), data.count(b">"), data[:1], data[-1:]) == (2, 2, b"<", b">")
    assert all(data.count(letter) == 2 * 200 * 20_000 for letter in (b"a", b"b", b"c"))


def test_whoever_comes_while_another_writes_waits() -> None:
    """Also for the beginning of the stream, and for its end: there is one head and one end."""
    reached, go = threading.Event(), threading.Event()

    class Slow(RecordingRuntime):
        def part(self, *said: Said | BytesLike) -> None:
            reached.set()
            assert go.wait(PATIENCE_S)
            super().part(*said)

    faults: list[BaseException] = []

    def handler(event: object, context: LambdaContext) -> None:
        response = context.response_writer()

        def write() -> None:
            response.write("x")

        def finish() -> None:
            try:
                response.finish()
            except LocalProtocolError as fault:
                faults.append(fault)

        threads = [threading.Thread(target=write), *(threading.Thread(target=finish) for _ in range(2))]
        threads[0].start()
        assert reached.wait(PATIENCE_S)
        for thread in threads[1:]:
            thread.start()
        go.set()
        for thread in threads:
            thread.join(PATIENCE_S)

    runtime = Slow(invocation())
    serve_handler(handler, runtime)
    assert runtime.kinds == ["ResponseStarted", "ResponseChunk", "ResponseFinished"]
    assert len(faults) == 1


# -- who may say what when


class Watched:
    """The lock of an answer; it is noted when somebody waits for it."""

    def __init__(self, answer: Answer) -> None:
        self.contended = threading.Event()
        self._inner = answer.saying
        answer.saying = self  # type: ignore[assignment]  # it does what is used of one

    def acquire(self, timeout: float = -1) -> bool:
        if self._inner.acquire(blocking=False):
            return True
        self.contended.set()
        return self._inner.acquire(timeout=timeout)

    def release(self) -> None:
        self._inner.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()


class Gated(RecordingRuntime):
    """Says nothing until it may, and never two things at once; nor does it poll while something is said."""

    def __init__(self, *invocations: Invocation, **faults: Any) -> None:
        super().__init__(*invocations, **faults)
        self.reached = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self._used = threading.Lock()

    @contextmanager
    def _using(self) -> Iterator[None]:
        if not self._used.acquire(blocking=False):
            raise Busy("two at once")
        self.reached.set()
        assert self.go.wait(PATIENCE_S)
        try:
            yield
        finally:
            self._used.release()

    def next_invocation(self, *, timeout: float | None = None) -> Invocation:
        with self._using():
            return super().next_invocation(timeout=timeout)

    def part(self, *said: Said | BytesLike) -> None:
        with self._using():
            super().part(*said)

    def end(self, said: Said) -> Accepted | Refused:
        with self._using():
            return super().end(said)


CALLERS: dict[str, Callable[[Answer], object]] = {
    "respond": lambda answer: answer.respond(b"1", "a/b"),
    "head": lambda answer: answer.send_prelude(HttpResponse().prelude),
    "write": lambda answer: answer.write("y"),
    "write nothing": lambda answer: answer.write(""),
    "finish": lambda answer: answer.finish(),
    "conclude": lambda answer: answer.conclude(),
    "fail": lambda answer: answer.fail(ValueError("no")),
    "close": lambda answer: answer.close(),
}
STARTED, CHUNK, FINISHED = "ResponseStarted", "ResponseChunk", "ResponseFinished"
LATE = dict.fromkeys(CALLERS, "LocalProtocolError") | {"conclude": "", "fail": "", "close": ""}
#: What each caller says in each state, or what is raised to him.
LEGAL: dict[str, dict[str, str]] = {
    "UNBEGUN": {
        "respond": "BufferedResponse",
        "head": f"{STARTED} {CHUNK} {CHUNK}",
        "write": f"{STARTED} {CHUNK}",
        "write nothing": "",
        "finish": f"{STARTED} {FINISHED}",
        "conclude": f"{STARTED} {FINISHED}",
        "fail": "ErrorReported",
        "close": "",
    },
    "OPEN": {
        "respond": "LocalProtocolError",
        "head": "LocalProtocolError",
        "write": CHUNK,
        "write nothing": "",
        "finish": FINISHED,
        "conclude": FINISHED,
        "fail": "ResponseFailed",
        "close": "",
    },
    "ENDED": LATE,
    "CUT": {name: said.replace("LocalProtocolError", "StreamInterrupted") for name, said in LATE.items()},
    "CLOSED": LATE,
}
#: What somebody is saying; after what, and who.
MEANWHILE: dict[str, tuple[str, str]] = {
    "a head": ("", "write"),
    "a chunk": ("write", "write"),
    "a response": ("", "respond"),
    "an end": ("write", "finish"),
    "a failure": ("", "fail"),
}


def raised_to(caller: str, answer: Answer) -> str:
    """Let him speak; return what is raised to him."""
    try:
        CALLERS[caller](answer)
    except (LocalProtocolError, StreamInterrupted) as fault:
        return type(fault).__name__
    return ""


def in_state(state: str) -> tuple[Answer, RecordingRuntime]:
    """Return an answer that has come so far."""
    runtime = RecordingRuntime(parts=(1, StreamInterrupted(None)) if state == "CUT" else None)
    answer = Answer(runtime, invocation())
    if state not in ("UNBEGUN", "CLOSED"):
        answer.write("x")
    if state == "ENDED":
        answer.finish()
    elif state == "CUT":
        with pytest.raises(StreamInterrupted):
            answer.write("x")
    elif state == "CLOSED":
        answer.close()
    return answer, runtime


@pytest.mark.parametrize("state", LEGAL)
@pytest.mark.parametrize("caller", CALLERS)
def test_who_may_say_what_when(state: str, caller: str) -> None:
    """In each state, whoever calls: it goes where it still can, or is refused and nothing is sent."""
    answer, runtime = in_state(state)
    before = len(runtime.kinds)
    raised = raised_to(caller, answer)
    said = runtime.kinds[before:]
    assert (raised or " ".join(said)) == LEGAL[state][caller]
    assert not (raised and said)
    ends = not raised and caller in ("respond", "finish", "conclude", "fail", "close")
    assert answer.begun == (state != "UNBEGUN" or caller != "write nothing")
    assert answer.ended == (state not in ("UNBEGUN", "OPEN") or ends)


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("caller", CALLERS)
def test_whoever_comes_meanwhile_waits_and_speaks_as_if_he_had_come_after_it(
    meanwhile: str, caller: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is said at once. Who only looks does not wait, nor does a failure that has no time to."""
    before, speaks = MEANWHILE[meanwhile]
    after_it = RecordingRuntime()
    sequence = Answer(after_it, invocation())
    runtime = Gated()
    answer = Answer(runtime, invocation())
    for one in (sequence, answer):
        if before:
            CALLERS[before](one)
    CALLERS[speaks](sequence)
    lock = Watched(answer)
    runtime.reached.clear()
    runtime.go.clear()
    with ThreadPoolExecutor() as threads:
        speaking = threads.submit(CALLERS[speaks], answer)
        assert runtime.reached.wait(PATIENCE_S)
        assert (answer.begun, answer.ended) == (sequence.begun, sequence.ended)
        waiting = threads.submit(raised_to, caller, answer)
        assert lock.contended.wait(PATIENCE_S)
        answer.fail(ValueError("left"), patience_s=0)
        assert "the response to id-1 is still being sent: its caller is not told" in capsys.readouterr().err
        runtime.go.set()
        speaking.result(PATIENCE_S)
        assert waiting.result(PATIENCE_S) == raised_to(caller, sequence)
    assert runtime.kinds == after_it.kinds


@pytest.mark.parametrize("what", ["write", "finish", "respond"])
def test_what_could_not_be_begun_may_still_be_said(what: str) -> None:
    """Nothing of it was sent: the answer is where it was."""

    class Picky(RecordingRuntime):
        def stream(self, *_: object, **__: object) -> ResponseStream:
            raise ValueError("no")

        def respond(self, *_: object, **__: object) -> Accepted | Refused:
            raise ValueError("no")

    runtime = Picky()
    answer = Answer(runtime, invocation())
    with pytest.raises(ValueError, match="no"):
        CALLERS[what](answer)
    assert (answer.begun, answer.ended) == (False, False)
    answer.fail(ValueError("no"))
    assert runtime.kinds == ["ErrorReported"]


@pytest.mark.parametrize("first", ["write", "finish", "respond"])
def test_the_runtime_waits_for_a_thread_that_speaks_while_the_handler_returns(first: str) -> None:
    """It does not poll meanwhile, and reports nothing: the answer is the thread's."""
    runtime = Gated(invocation(), invocation(2))
    threads: list[threading.Thread] = []

    def handler(event: object, context: LambdaContext) -> object:
        if event == 2:
            return event
        answer: Answer = context._answer
        lock = Watched(answer)
        runtime.reached.clear()
        runtime.go.clear()

        def let_go() -> None:
            assert lock.contended.wait(PATIENCE_S)
            runtime.go.set()

        threads.extend([threading.Thread(target=CALLERS[first], args=(answer,)), threading.Thread(target=let_go)])
        for thread in threads:
            thread.start()
        assert runtime.reached.wait(PATIENCE_S)
        return None

    serve_handler(handler, runtime)
    for thread in threads:
        thread.join(PATIENCE_S)
    whole = {"write": [STARTED, CHUNK, FINISHED], "finish": [STARTED, FINISHED], "respond": ["BufferedResponse"]}
    assert runtime.kinds == [*whole[first], "BufferedResponse"]


# -- what cannot be said


class Unspeakable(Exception):
    """Ends the process when it is asked for its message."""

    def __str__(self) -> str:
        raise SystemExit(9)


class Interrupting(Exception):
    """Interrupts whoever asks for its message."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Wordless(Exception):
    """Has a message that is none."""

    def __str__(self) -> str:
        return None  # type: ignore[return-value]  # that is the point


def deep() -> BaseException:
    fault: BaseException = ValueError("x")
    for _ in range(30):
        try:
            raise RuntimeError("y" * 10_000) from fault
        except RuntimeError as raised:
            fault = raised
    return fault


def endless(depth: int) -> int:
    return endless(depth + 1)


def released() -> memoryview:
    view = memoryview(b"abc")
    view.release()
    return view


def cycle() -> list[object]:
    found: list[object] = []
    found.append(found)
    return found


def raises(fault: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise fault

    return act


FAILURES: dict[str, tuple[Callable[[], object], str]] = {
    "unspeakable": (raises(Unspeakable()), "Unspeakable"),
    "interrupting": (raises(Interrupting()), "Interrupting"),
    "wordless": (raises(Wordless()), "Wordless"),
    "odd name": (raises(type("a\nbé", (Exception,), {})("m")), "a\nbé"),
    "surrogates": (raises(ValueError("\ud800\x00")), "ValueError"),
    "deep": (lambda: raises(deep())(), "RuntimeError"),
    "long": (lambda: raises(ValueError("z" * 9_000_000))(), "ValueError"),
    "group": (raises(ExceptionGroup("g", [ValueError(1)])), "ExceptionGroup"),
    "stop": (raises(StopIteration()), "StopIteration"),
    "async stop": (raises(StopAsyncIteration()), "StopAsyncIteration"),
    "recursion": (lambda: endless(0), "RecursionError"),
    "released": (released, "Malformed"),
    "cycle": (cycle, "Runtime.MarshalError"),
}


def test_whatever_a_handler_raises_is_reported_and_the_next_is_served() -> None:
    """However odd the exception is: its caller is told its type, and nobody else notices."""

    def handler(event: str, context: object) -> object:
        return FAILURES[event][0]() if event in FAILURES else event

    with LocalLambda(handler) as function:
        for name, (_, error_type) in FAILURES.items():
            with pytest.raises(FunctionError) as caught:
                function.invoke(name)
            assert caught.value.error_type == error_type
            assert function.invoke("ok") == "ok"
        assert function.invoke("\ud800") == "\ud800"


def test_what_cannot_be_sent_leaves_the_answer_open() -> None:
    """The handler runs once, and its caller hears why, over a real connection."""
    ran: list[object] = []

    def handler(event: object, context: object) -> object:
        ran.append(event)
        return released() if event == 1 else event

    with ScriptedService(invocation(1), invocation(2)) as service, connect(service.address) as runtime:
        serving = threading.Thread(target=serve_handler, args=(handler, runtime))
        serving.start()
        assert service.idle.wait(PATIENCE_S)
        runtime.stop_polling()
        serving.join(PATIENCE_S)
    assert ran == [1, 2]
    kinds = [NextAsked, ErrorReported, NextAsked, BufferedResponse, NextAsked]
    assert [type(it) for it in service.asked] == kinds
    assert service.error()["errorType"] == "Malformed"


def test_a_view_with_gaps_is_sent_as_what_it_shows() -> None:
    """It is bytes-like."""
    (said,) = served(lambda event, context: memoryview(b"abcdef")[::2]).said
    assert isinstance(said, BufferedResponse)
    assert said.payload == b"ace"


# -- a service that cannot be reached for a while


class Unreachable(RecordingRuntime):
    """Nobody takes a connection for the first tries to say something."""

    def __init__(self, tries: int) -> None:
        super().__init__(invocation())
        self.tries = tries
        self.nothing_sent = True

    def part(self, *said: Said | BytesLike) -> None:
        self._dial()
        super().part(*said)

    def end(self, said: Said) -> Accepted | Refused:
        self._dial()
        return super().end(said)

    def _dial(self) -> None:
        self.tries -= 1
        if self.tries >= 0:
            raise ConnectionLost("nobody there", nothing_sent=self.nothing_sent)


def failing(event: object, context: object) -> None:
    raise ValueError("no")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long an answer has waited between its tries; it does not really wait."""
    found: list[float] = []
    monkeypatch.setattr("lambda_wire.bootstrap.answering.sleep", found.append)
    return found


ANSWERED: dict[str, tuple[Callable[[Any, Any], object], list[str]]] = {
    "respond": (lambda event, context: 1, ["BufferedResponse"]),
    "stream": (lambda event, context: iter([b"x"]), ["ResponseStarted", "ResponseChunk", "ResponseFinished"]),
    "fail": (failing, ["ErrorReported"]),
}


@pytest.mark.parametrize("way", ANSWERED)
@pytest.mark.parametrize("tries", [1, 5])
def test_an_answer_that_cannot_be_dialled_is_tried_again(way: str, tries: int, waits: list[float]) -> None:
    """Nothing was sent, so that it is said once: later and later, five times (RT-RESP-1, RT-RESP-15)."""
    handler, kinds = ANSWERED[way]
    runtime = Unreachable(tries)
    serve_handler(handler, runtime)
    assert (runtime.kinds, waits) == (kinds, [0.05, 0.1, 0.2, 0.4, 0.8][:tries])


@pytest.mark.parametrize("way", ["respond", "stream"])
@pytest.mark.parametrize(("tries", "nothing_sent"), [(6, True), (1, False)])
def test_an_answer_is_given_up(
    way: str, tries: int, nothing_sent: bool, waits: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """After the last try; and at once when something may have been sent, which is never said twice (RT-RESP-15)."""
    runtime = Unreachable(tries)
    runtime.nothing_sent = nothing_sent
    serve_handler(ANSWERED[way][0], runtime)
    assert (runtime.kinds, len(waits), runtime.tries) == ([], tries - 1, 0)
    assert "nobody there" in capsys.readouterr().err


# -- memory


def test_faults_are_forgotten() -> None:
    """Of the handler and of the way: what they hold is let go of, and a later failure is a new one."""
    runtime = RecordingRuntime(parts=(1, LocalProtocolError("odd")))
    answer = Answer(runtime, invocation())
    answer.write("x")
    with pytest.raises(LocalProtocolError):
        answer.write("y")
    answer.fail(ValueError("no"))
    assert answer._reported is not None
    assert answer._interruption is not None
    answer.forget_faults()
    held: list[Any] = [answer._reported, answer._interruption]
    assert held == [None, None]


def test_what_was_let_go_of_is_still_over() -> None:
    """Who keeps the writer is refused, as ever."""
    kept: list[Any] = []

    def handler(event: object, context: LambdaContext) -> Iterator[bytes]:
        kept.append(context.response_writer())
        yield b"x"
        raise ValueError("no")

    assert served(handler).kinds == ["ResponseStarted", "ResponseChunk", "ResponseFailed"]
    with pytest.raises(LocalProtocolError, match="complete"):
        kept[0].write("late")
