"""One script of behaviours for every driver, under AWS's emulator in both of its modes.

What a runtime does without being asked for anything odd, one invocation after the other, is in ``test_drivers``. Here
is the rest: init errors, refusals, connections that end, error trailers that somebody reads, answers that are late, and
several polls at once. This module is also the runtime: a program that is told its driver and which part it plays.
"""

from __future__ import annotations

import concurrent.futures
import functools
import json
import os
import shlex
import socket
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from lambda_wire._errors import ConnectionLost, RequestRefused
from lambda_wire._events import Accepted, Invocation, Refused
from lambda_wire._facade import Runtime
from tests.driver_parts import DRIVERS, Driver, wire_of
from tests.real_parts import Emulator, running_emulator, running_managed_emulator
from tests.running_local import PATIENCE_S

LIMIT: Final = 6 * 1024 * 1024 + 100
SLOTS: Final = 4
ACCEPTED: Final = "accepted"
INIT_ERROR: Final = b'{"errorType":"Runtime.Mine","errorMessage":"no start"}'
DOCUMENT: Final = b'{"errorType":"Function.Mine"}'


# -- the runtime

Verdict = Accepted | Refused


def word(verdict: Verdict) -> str:
    """Return a verdict as the tests name it."""
    return f"{verdict.status} {verdict.error_type}".strip() if isinstance(verdict, Refused) else ACCEPTED


class Process:
    """A runtime's process.

    Args:
        driver: How it connects.
        runtimes: All its connections.

    Attributes:
        said: What the service said to it, since somebody was told.
        ending: Whether it has been told to end.
    """

    def __init__(self, driver: Driver, runtimes: list[Runtime]) -> None:
        self.driver: Driver = driver
        self.said: list[str] = []
        self.ending: bool = False
        self._runtimes = runtimes

    async def end(self) -> None:
        self.ending = True
        for runtime in self._runtimes:
            await runtime.stop_polling()


class Slot:
    """Does what each event says.

    Args:
        process: Whose slot it is.
        runtime: Where its invocations come from.
        others: Connections that have not polled; for what one alone cannot do wrong.
    """

    def __init__(self, process: Process, runtime: Runtime, others: list[Runtime]) -> None:
        self._process = process
        self._runtime = runtime
        self._others = others
        self._said = process.said

    async def serve(self) -> None:
        """Answer until the process is to end."""
        while True:
            try:
                invocation = await self._runtime.next_invocation()
            except ConnectionLost:
                if not self._process.ending:
                    raise
                return
            event: dict[str, Any] = json.loads(invocation.payload)
            do: Callable[[Invocation, dict[str, Any]], Awaitable[Verdict]] = getattr(self, event["do"])
            self._said.append(word(await do(invocation, event)))

    async def end(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        verdict = await self._runtime.respond(invocation, invocation.payload)
        await self._process.end()
        return verdict

    async def echo(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        return await self._runtime.respond(invocation, invocation.payload)

    async def said(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        """Tell what the service said since it was last asked."""
        document = json.dumps(self._said).encode()
        self._said.clear()
        return await self._runtime.respond(invocation, document)

    async def error(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        return await self._runtime.report_error(invocation, error_type="Function.Mine", payload=DOCUMENT)

    async def stream(self, invocation: Invocation, event: dict[str, Any]) -> Verdict:
        stream = await self._runtime.stream(invocation, content_type="text/plain")
        await stream.write(b"one ", b"two ")
        await stream.write(b"three")
        if event.get("fail"):
            return await stream.fail(error_type="Function.Mine", error_body=DOCUMENT)
        return await stream.finish()

    async def whole(self, invocation: Invocation, event: dict[str, Any]) -> Verdict:
        return await self._runtime.respond(invocation, b"x" * event["size"], content_type="text/plain")

    async def pour(self, invocation: Invocation, event: dict[str, Any]) -> Verdict:
        stream = await self._runtime.stream(invocation, content_type="text/plain")
        for start in range(0, event["size"], 65_536):
            await stream.write(b"x" * min(65_536, event["size"] - start))
        return await stream.finish()

    async def cut(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        """Lose the connection while the invocation runs, and again after the answer; it is looked at before each."""
        self._runtime._session.fresh_s = 0.0  # so soon after the event nobody would look
        wire_of(self._runtime).shutdown(socket.SHUT_RDWR)
        verdict = await self._runtime.respond(invocation, invocation.payload)
        wire_of(self._runtime).shutdown(socket.SHUT_RDWR)
        return verdict

    async def meet(self, invocation: Invocation, event: dict[str, Any]) -> Verdict:
        """Answer when the test says so."""

        def wait(patience_s: float) -> bool:
            with socket.create_connection(("127.0.0.1", event["port"]), timeout=patience_s) as meeting:
                return meeting.recv(1) == b""

        await self._process.driver.wait(wait)
        return await self._runtime.respond(invocation, invocation.payload)

    async def late_init_error(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        """Report, from elsewhere, that the runtime that answers could not start."""
        other = self._others.pop()
        self._said.append(word(await other.report_init_error(error_type="Runtime.Mine", payload=INIT_ERROR)))
        return await self._runtime.respond(invocation, invocation.payload)

    async def twice(self, invocation: Invocation, _: dict[str, Any]) -> Verdict:
        """Answer from elsewhere, and then once more."""
        other = self._others.pop()
        again = await other.next_invocation()
        assert again == invocation
        self._said.append(word(await other.respond(again, again.payload)))
        return await self._runtime.respond(invocation, b'"twice"')

    async def stale(self, invocation: Invocation, event: dict[str, Any]) -> Verdict:
        """Answer from elsewhere, be told of the next invocation there, and then answer the first once more."""
        other = self._others.pop()
        again = await other.next_invocation()
        self._said.append(word(await other.respond(again, again.payload)))
        following = await other.next_invocation()
        if event.get("error"):
            report = self._runtime.report_error(invocation, error_type="Function.Mine", payload=DOCUMENT)
            self._said.append(word(await report))
        else:
            self._said.append(word(await self._runtime.respond(invocation, b'"stale"')))
        return await other.respond(following, following.payload)


async def standard(driver: Driver, address: str) -> None:
    """One slot; there is no snapshot to restore from."""
    async with AsyncExitStack() as stack:
        runtimes = [await stack.enter_async_context(driver.connect(address)) for _ in range(5)]
        process = Process(driver, runtimes)
        try:
            await runtimes[0].next_restore()
        except RequestRefused as fault:
            process.said.append(word(fault.refusal))
        await Slot(process, runtimes[0], runtimes[1:]).serve()


async def managed(driver: Driver, address: str) -> None:
    """As many slots as the service wants."""
    async with AsyncExitStack() as stack:
        count = int(os.environ["AWS_LAMBDA_MAX_CONCURRENCY"])
        runtimes = [await stack.enter_async_context(driver.connect(address)) for _ in range(count)]
        process = Process(driver, runtimes)
        await driver.at_once(*(Slot(process, runtime, []).serve for runtime in runtimes))


async def broken(driver: Driver, address: str) -> None:
    """Report that it cannot start, and see what comes of a poll."""
    async with driver.connect(address) as runtime, driver.connect(address) as other:
        said = [word(await runtime.report_init_error(error_type="Runtime.Mine", payload=INIT_ERROR))]
        try:
            await other.next_invocation()
        except RequestRefused as fault:
            said.append(word(fault.refusal))
        os.write(1, f"broken: {said}\n".encode())


if __name__ == "__main__":
    (named,) = (driver for driver in DRIVERS if driver.name == sys.argv[1])
    part = {"standard": standard, "managed": managed, "broken": broken}[sys.argv[2]]
    named.run(functools.partial(part, named, os.environ["AWS_LAMBDA_RUNTIME_API"]))


# -- the tests

every_driver = pytest.mark.parametrize("driver", DRIVERS, ids=lambda driver: driver.name)


class Told:
    """What a caller was told."""

    def __init__(self, emulator: Emulator, event: dict[str, object]) -> None:
        self.status, headers, self.body = emulator.invoke(json.dumps(event).encode())
        self.failure: str | None = headers["error-type"]
        self.content_type: str | None = headers["content-type"]

    def json(self) -> Any:
        """Return the body of what went well."""
        assert (self.status, self.failure) == (200, None), self.body
        return json.loads(self.body)


def command(driver: Driver, part: str, stderr: Path) -> str:
    """Return a shell's command: the runtime, with every warning an error, and a file for what it complains of."""
    driver.need()
    stderr.touch()
    stderr.chmod(0o666)  # the runtime may be another user
    words = [sys.executable, "-X", "dev", "-W", "error", "-bb", "-m", __name__, driver.name, part]
    return f"exec {shlex.join(words)} 2>>{shlex.quote(str(stderr))}"


@contextmanager
def standard_emulator(driver: Driver, directory: Path, part: str = "standard") -> Generator[Emulator, None, None]:
    """One invocation at a time. The runtime complains of nothing, to its end."""
    stderr = directory / "stderr"
    with running_emulator(["/bin/sh", "-c", command(driver, part, stderr)]) as emulator:
        yield emulator
        if part == "standard":
            told = Told(emulator, {"do": "end"})
            assert (told.status, told.body) == (502, b'{"do": "end"}')  # it has ended instead of polling again
        assert stderr.read_text(encoding="utf-8") == ""


@contextmanager
def managed_emulator(
    driver: Driver, directory: Path, *, slots: int = 1, timeout_s: int = 30
) -> Generator[Emulator, None, None]:
    """As many as there are slots. The runtime complains of nothing, to its end."""
    stderr = directory / "stderr"
    bootstrap = f"#!/bin/sh\n{command(driver, 'managed', stderr)}\n"
    with running_managed_emulator(bootstrap, slots=slots, timeout_s=timeout_s) as emulator:
        yield emulator
        assert Told(emulator, {"do": "end"}).json() == {"do": "end"}
        emulator.process.wait(PATIENCE_S)  # ends when its runtime has
        assert stderr.read_text(encoding="utf-8") == ""


@every_driver
def test_refusals(driver: Driver, tmp_path: Path) -> None:
    """403 and 400 are news: nothing that follows suffers, and a caller has the answer that came first."""
    with standard_emulator(driver, tmp_path) as emulator:

        def told(do: str, **more: object) -> Any:
            return Told(emulator, {"do": do, **more}).json()

        assert told("said") == ["404"]  # there is no snapshot
        assert told("late_init_error") == {"do": "late_init_error"}
        assert told("said") == [ACCEPTED, "403 InvalidStateTransition", ACCEPTED]
        assert told("twice") == {"do": "twice"}
        assert told("said") == [ACCEPTED, ACCEPTED, "403 InvalidStateTransition"]
        for error in (False, True):
            assert told("stale", error=error) == {"do": "stale", "error": error}
            assert told("echo", after="stale") == {"do": "echo", "after": "stale"}
            assert told("said") == [ACCEPTED, ACCEPTED, "400 InvalidRequestID", ACCEPTED]


@every_driver
def test_an_init_error(driver: Driver, tmp_path: Path) -> None:
    """The caller has the document; whoever polls then is refused."""
    with standard_emulator(driver, tmp_path, "broken") as emulator:
        told = Told(emulator, {"do": "echo"})
        assert (told.status, told.body) == (502, INIT_ERROR)
        assert f"broken: {[ACCEPTED, '403 InvalidStateTransition']}" in emulator.log


@every_driver
def test_connections_that_end(driver: Driver, tmp_path: Path) -> None:
    """Before the answer, and before the poll: it dials again, and all is answered once, by the same process."""
    with standard_emulator(driver, tmp_path) as emulator:
        pids = set()
        for number in range(20):
            event = {"do": "cut", "number": number}
            assert Told(emulator, event).json() == event
            pids.add(emulator.runtime_pid)
        assert Told(emulator, {"do": "said"}).json() == ["404", *[ACCEPTED] * 20]
        assert len(pids) == 1


@every_driver
def test_a_managed_instance(driver: Driver, tmp_path: Path) -> None:
    """Here the caller is told of content types, errors and trailers."""
    with managed_emulator(driver, tmp_path) as emulator:
        event: dict[str, object] = {"do": "echo", "text": "Größe"}
        told = Told(emulator, event)
        assert (told.json(), told.content_type) == (event, "application/json")
        told = Told(emulator, {"do": "stream"})
        assert (told.failure, told.body, told.content_type) == (None, b"one two three", "text/plain")
        for do in ("stream", "error"):
            told = Told(emulator, {"do": do, "fail": True})
            assert (told.failure, told.body) == ("Function.Mine", DOCUMENT)
        assert Told(emulator, {"do": "said"}).json() == [ACCEPTED] * 4
        for do in ("whole", "pour"):
            assert Told(emulator, {"do": do, "size": LIMIT}).body == b"x" * LIMIT
            assert Told(emulator, {"do": do, "size": LIMIT + 1}).failure == "Function.ResponseSizeTooLarge"
        assert Told(emulator, {"do": "said"}).json() == [ACCEPTED, *[ACCEPTED, "413 RequestEntityTooLarge"] * 2]


@every_driver
def test_a_late_answer(driver: Driver, tmp_path: Path) -> None:
    """Its caller has been told of the timeout; it is refused with 410, and the slot serves on."""
    with (
        managed_emulator(driver, tmp_path, timeout_s=2) as emulator,
        socket.create_server(("127.0.0.1", 0)) as meeting,
        concurrent.futures.ThreadPoolExecutor() as callers,
    ):
        meeting.settimeout(PATIENCE_S)
        called = callers.submit(Told, emulator, {"do": "meet", "port": meeting.getsockname()[1]})
        with meeting.accept()[0]:
            assert called.result(PATIENCE_S).failure == "Sandbox.Timedout"
        assert Told(emulator, {"do": "said"}).json() == ["410 InvokeTimeout"]


@every_driver
def test_many_slots_in_one_process(driver: Driver, tmp_path: Path) -> None:
    """All run at once; of 200 invocations none is lost or crossed, whatever the other slots do."""
    with (
        managed_emulator(driver, tmp_path, slots=SLOTS) as emulator,
        socket.create_server(("127.0.0.1", 0)) as meeting,
        concurrent.futures.ThreadPoolExecutor(2 * SLOTS) as callers,
    ):
        meeting.settimeout(PATIENCE_S)
        event: dict[str, object] = {"do": "meet", "port": meeting.getsockname()[1]}
        met = [callers.submit(Told, emulator, event) for _ in range(SLOTS)]
        for wire in [meeting.accept()[0] for _ in range(SLOTS)]:
            wire.close()
        assert [answer.result(PATIENCE_S).json() for answer in met] == [event] * SLOTS
        do = ("echo", "echo", "cut", "stream")
        events: list[dict[str, object]] = [{"do": do[number % 4], "number": number} for number in range(200)]
        asked = [callers.submit(Told, emulator, event) for event in events]
        for event, answer in zip(events, asked, strict=True):
            told = answer.result(PATIENCE_S)
            assert told.body == b"one two three" if event["do"] == "stream" else told.json() == event
