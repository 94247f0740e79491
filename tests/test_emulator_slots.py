"""Many slots under AWS's emulator in its managed-instances mode: nothing is lost, doubled or crossed.

The runtime runs with every warning an error and in development mode; what it says to stderr is read to its end. Its
handlers say whom they serve before they do, so an invocation that is run twice is seen here, too.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import signal
import socket
import sys
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import pytest

from tests.real_parts import Emulator, running_managed_emulator
from tests.running_local import PATIENCE_S

SLOTS: Final = 8
CALLERS: Final = 16
INVOCATIONS: Final = 1000

APP: Final = """
import asyncio, logging, os, random, socket, sys, time

assert sys.flags.dev_mode and "error" in sys.warnoptions

DICE = random.Random(7)
logging.getLogger("asyncio").setLevel(logging.ERROR)  # machines are shared: callbacks may be slow

class Broken(Exception):
    pass

def served(event, context):
    os.write(1, f"{context.aws_request_id} {context.invocation_id} {os.getpid()}\\n".encode())
    return {"question": event["question"], "id": context.aws_request_id, "pid": os.getpid()}

def nap():
    return DICE.choice((0, 0.001, 0.005, 0.02))

def plain(event, context):
    said = served(event, context)
    if "meet" in event:
        with socket.create_connection(("127.0.0.1", event["meet"])) as meeting:
            meeting.recv(1)
    time.sleep(nap())
    match event.get("do"):
        case "raise":
            raise Broken(event["question"])
        case "stream" | "fail" as how:
            return pieces(event["question"], how)
    return said

def pieces(question, how):
    for piece in range(3):
        yield f"{question}-{piece} "
        time.sleep(nap() / 4)
        if how == "fail" and piece == 1:
            raise Broken(question)

async def asynchronous(event, context):
    said = served(event, context)
    if "meet" in event:
        reader, writer = await asyncio.open_connection("127.0.0.1", event["meet"])
        await reader.read(1)
        writer.close()
        await writer.wait_closed()
    await asyncio.sleep(nap())
    match event.get("do"):
        case "raise":
            raise Broken(event["question"])
        case "stream" | "fail" as how:
            return async_pieces(event["question"], how)
    return said

async def async_pieces(question, how):
    for piece in range(3):
        yield f"{question}-{piece} "
        await asyncio.sleep(nap() / 4)
        if how == "fail" and piece == 1:
            raise Broken(question)
"""


class Answer(NamedTuple):
    """What a caller was told: the emulator's name of the failure, if there was one, and the body."""

    failure: str | None
    body: bytes

    def said(self) -> Any:
        """Return what the handler returned."""
        assert self.failure is None, self
        return json.loads(self.body)


class Room:
    """A runtime in the emulator, and the callers around it."""

    def __init__(self, emulator: Emulator, directory: Path, callers: ThreadPoolExecutor) -> None:
        self._emulator = emulator
        self._directory = directory
        self._callers = callers

    def ask(self, question: int, **more: object) -> Future[Answer]:
        """Invoke in another thread; the question is the request id, too."""
        return self._callers.submit(self._invoke, question, more)

    def _invoke(self, question: int, more: dict[str, object]) -> Answer:
        event = json.dumps({"question": question, **more}).encode()
        status, headers, body = self._emulator.invoke(event, {"X-Amzn-RequestId": f"q{question}"})
        assert status == 200, (status, headers["error-type"], body)
        return Answer(headers["error-type"], body)

    def meet(self, questions: Iterable[int]) -> list[Any]:
        """Ask them all, and let no handler go on before all of them run."""
        with Meeting() as meeting:
            asked = [self.ask(question, meet=meeting.port) for question in questions]
            meeting.gather(len(asked))
            meeting.part()
            return [answer.result(PATIENCE_S).said() for answer in asked]

    def served(self) -> list[list[str]]:
        """Return, for each time that a handler ran: request id, id of the attempt, process id."""
        return [line.split() for line in (self._directory / "served").read_text(encoding="ascii").splitlines()]

    def end(self) -> str:
        """End the runtime as Lambda does; return all that it has said to stderr."""
        pid = self._emulator.runtime_pid
        assert pid is not None
        os.kill(pid, signal.SIGTERM)
        self._emulator.process.wait(PATIENCE_S)  # ends when its runtime has
        return (self._directory / "stderr").read_text(encoding="utf-8")


class Meeting:
    """A place where handlers wait for each other, and for us.

    Attributes:
        port: Where it is.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE_S)
        self._there = ExitStack()
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.part()
        self._listener.close()

    def gather(self, count: int) -> None:
        """Wait until so many are there."""
        for _ in range(count):
            self._there.enter_context(self._listener.accept()[0])

    def part(self) -> None:
        """Let them go."""
        self._there.close()


@contextmanager
def room(directory: Path, handler: str, *options: str, timeout_s: int = 30) -> Generator[Room, None, None]:
    """Run ``lambda-wire run``, and kill it afterwards."""
    for name in ("served", "stderr"):  # the runtime is somebody else
        (directory / name).touch()
        (directory / name).chmod(0o666)
    command = shlex.join([sys.executable, "-m", "lambda_wire", "run", *options, f"app.{handler}"])
    places = ">>{} 2>>{}".format(*(shlex.quote(str(directory / name)) for name in ("served", "stderr")))
    strict = {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1"}
    bootstrap = f"#!/bin/sh\nexec {command} {places}\n"
    files = {"app.py": APP}
    with running_managed_emulator(bootstrap, env=strict, timeout_s=timeout_s, slots=SLOTS, files=files) as emulator:
        callers = ThreadPoolExecutor(CALLERS)
        try:
            yield Room(emulator, directory, callers)
        finally:
            callers.shutdown(cancel_futures=True)


def assert_each_ran_once(room: Room, count: int) -> None:
    """Nothing was run twice, and each attempt had an id of its own."""
    served = room.served()
    assert sorted(request_id for request_id, _, _ in served) == sorted(f"q{question}" for question in range(count))
    assert len({invocation_id for _, invocation_id, _ in served}) == count


@pytest.mark.parametrize(
    ("handler", "options"),
    [("plain", []), ("asynchronous", []), ("plain", ["--processes"])],
    ids=["plain", "async", "processes"],
)
def test_a_thousand_invocations(tmp_path: Path, handler: str, options: list[str]) -> None:
    """None is lost, doubled or crossed; eight run at once, before and after; in one process, or each in its own."""
    with room(tmp_path, handler, *options) as runtime:
        first = runtime.meet(range(SLOTS))
        asked = [runtime.ask(question) for question in range(SLOTS, INVOCATIONS - SLOTS)]
        said = [answer.result(PATIENCE_S).said() for answer in asked]
        last = runtime.meet(range(INVOCATIONS - SLOTS, INVOCATIONS))
        answers = [*first, *said, *last]
        expected = [(question, f"q{question}") for question in range(INVOCATIONS)]
        assert [(answer["question"], answer["id"]) for answer in answers] == expected
        pids = {answer["pid"] for answer in first}
        assert len(pids) == (SLOTS if options else 1)
        assert pids == {answer["pid"] for answer in answers} == {answer["pid"] for answer in last}
        assert_each_ran_once(runtime, INVOCATIONS)
        assert runtime.end() == ""


def told(question: int, do: str) -> tuple[str | None, object]:
    """Return what a caller is to be told."""
    if do == "stream":
        return None, "".join(f"{question}-{piece} " for piece in range(3))
    return "Runtime.Unknown", ("Broken", str(question))


def heard(answer: Answer) -> tuple[str | None, object]:
    """Return what a caller was told."""
    if answer.failure is None:
        return None, answer.body.decode()
    document = json.loads(answer.body)
    return answer.failure, (document["errorType"], document["errorMessage"])


@pytest.mark.parametrize("handler", ["plain", "asynchronous"])
def test_a_thousand_streams_and_failures(tmp_path: Path, handler: str) -> None:
    """Whole streams, streams that fail after two pieces, and handlers that raise: each caller is told of his own."""
    dice = random.Random(7)
    asks = [dice.choice(("stream", "stream", "fail", "raise")) for _ in range(INVOCATIONS)]
    with room(tmp_path, handler) as runtime:
        asked = [runtime.ask(question, do=do) for question, do in enumerate(asks)]
        answers = [heard(answer.result(PATIENCE_S)) for answer in asked]
        assert answers == [told(question, do) for question, do in enumerate(asks)]
        assert_each_ran_once(runtime, INVOCATIONS)
        failed = [question for question, do in enumerate(asks) if do != "stream"]
        assert sorted(failures_of(runtime.end())) == sorted(f"[ERROR] Broken: {question}" for question in failed)


def failures_of(stderr: str) -> list[str]:
    """Return what was said besides tracebacks through the handler's module."""
    traceback = ("Traceback (most recent call last):", '  File "/var/task/app.py", ', "    raise Broken(")
    return [line for line in stderr.splitlines() if not line.startswith(traceback)]


@pytest.mark.parametrize("handler", ["plain", "asynchronous"])
def test_answers_that_are_late(tmp_path: Path, handler: str) -> None:
    """All slots are late at once, whatever they say: each is refused with 410, once. All are again, and serve on."""
    asks = ["return", "raise", "stream", "fail"] * (2 * SLOTS // 4)
    with room(tmp_path, handler, timeout_s=2) as runtime:
        for turn in (range(SLOTS), range(SLOTS, 2 * SLOTS)):
            with Meeting() as meeting:
                asked = [runtime.ask(question, do=asks[question], meet=meeting.port) for question in turn]
                meeting.gather(SLOTS)
                assert [answer.result(PATIENCE_S).failure for answer in asked] == ["Sandbox.Timedout"] * SLOTS
        more = [runtime.ask(question) for question in range(2 * SLOTS, 4 * SLOTS)]
        assert [answer.result(PATIENCE_S).said()["question"] for answer in more] == list(range(2 * SLOTS, 4 * SLOTS))
        assert_each_ran_once(runtime, 4 * SLOTS)
        said = failures_of(runtime.end())
    late = [
        match[1] for line in said if (match := re.search(r"^lambda-wire: .* to (q\d+) .*\b410 InvokeTimeout\b", line))
    ]
    assert sorted(late) == sorted(f"q{question}" for question in range(2 * SLOTS))
    # A stream that was cut short may not have come to its failure.
    raised = {f"[ERROR] Broken: {question}" for question, do in enumerate(asks) if do == "raise"}
    failed = {f"[ERROR] Broken: {question}" for question, do in enumerate(asks) if do == "fail"}
    others = [line for line in said if "410 InvokeTimeout" not in line]
    assert len(others) == len(set(others))
    assert raised <= set(others) <= raised | failed
