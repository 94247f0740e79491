"""The four drivers behind one face, so that a behaviour is written once, as a coroutine, and runs through each.

The blocking driver's coroutines never suspend; what runs at once runs in threads there, and in tasks elsewhere.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import select
import socket
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Protocol, Self, TypeVar, cast

import pytest

from lambda_wire import NextAsked, exchanges, sync
from lambda_wire import asyncio as on_asyncio
from lambda_wire._facade import Caller, Runtime
from lambda_wire._transport import AsyncWire, Loop
from tests.real_parts import need_module

T = TypeVar("T")
PATIENCE_S: Final = 60.0


class Driver(ABC):
    """How to run coroutines, and to connect, by one driver."""

    def __init__(self, name: str, *needed: str) -> None:
        self.name = name
        self._needed = needed

    def need(self) -> None:
        """Say that the running test needs this driver's libraries."""
        for module in self._needed:
            need_module(module)

    @abstractmethod
    def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine to its end, within some patience; nothing that it began may be left."""

    @abstractmethod
    def connect(self, address: str, **options: Any) -> Runtime:
        """Call the driver's ``connect``."""

    @abstractmethod
    def connect_caller(self, endpoint: str, **options: Any) -> Caller:
        """Call the driver's ``connect_caller``."""

    @abstractmethod
    async def at_once(self, *acts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run several coroutines at the same time, until all have ended."""

    @abstractmethod
    async def wait(self, wait: Callable[[float], object]) -> None:
        """Wait for another thread: ``wait`` is given how long, and returns something false when it gave up."""

    @abstractmethod
    def on_blocked_write(self, runtime: Runtime, act: Callable[[], object]) -> None:
        """Call ``act`` whenever a write of ``runtime`` has to wait."""


# -- blocking


class _Awaited:
    """An object of ``lambda_wire.sync``, with methods to be awaited."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not callable(found):
            return found

        async def call(*arguments: object, **options: object) -> object:
            result = found(*arguments, **options)
            return _Awaited(result) if isinstance(result, (sync.ResponseStream, sync.StreamedAnswer)) else result

        return call

    async def __aenter__(self) -> Self:
        self._real.__enter__()
        return self

    async def __aexit__(self, *fault: object) -> None:
        self._real.__exit__(*fault)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk: bytes = next(self._real)
        except StopIteration:
            raise StopAsyncIteration from None
        return chunk


def _drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    coroutine.close()
    raise AssertionError("the blocking driver suspended")


class Blocking(Driver):
    """``lambda_wire.sync``."""

    def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return _drive(act())

    def connect(self, address: str, **options: Any) -> Runtime:
        return cast("Runtime", _Awaited(sync.connect(address, **options)))  # has its methods

    def connect_caller(self, endpoint: str, **options: Any) -> Caller:
        return cast("Caller", _Awaited(sync.connect_caller(endpoint, **options)))  # has its methods

    async def at_once(self, *acts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        faults: list[BaseException] = []

        def run(act: Callable[[], Coroutine[Any, Any, None]]) -> None:
            try:
                _drive(act())
            except BaseException as fault:  # noqa: BLE001  # raised again below
                faults.append(fault)

        threads = [threading.Thread(target=run, args=(act,)) for act in acts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        if faults:
            raise faults[0]

    async def wait(self, wait: Callable[[float], object]) -> None:
        assert wait(PATIENCE_S)

    def on_blocked_write(self, runtime: Runtime, act: Callable[[], object]) -> None:
        wire: Any = runtime._wire  # the blocking one
        waits = wire._wait

        def watched(deadline: float | None, what_for: int = select.POLLIN) -> int:
            if what_for & select.POLLOUT:
                act()
            return cast("int", waits(deadline, what_for))  # of an Any

        wire._wait = watched


# -- loops


class Started(Protocol):
    """A coroutine that runs beside the one that started it."""

    def cancel(self) -> None:
        """Cancel it, wherever it is."""


class WatchedLoop:
    """A loop whose waits are noticed before they begin.

    Attributes:
        waits: What has been waited for, in order: names of the loop's methods.
        on_wait: Called with each.
    """

    def __init__(self, loop: Loop, on_wait: Callable[[str], object] = lambda _: None) -> None:
        self._loop = loop
        self.on_wait = on_wait
        self.waits: list[str] = []

    @classmethod
    def of(cls, user: Runtime | Caller, on_wait: Callable[[str], object] = lambda _: None) -> WatchedLoop:
        """Watch the waits of a runtime or a caller from now on."""
        watched = cls(user._wire._loop, on_wait)
        user._wire._loop = watched
        return watched

    def _note(self, wait: str) -> None:
        self.waits.append(wait)
        self.on_wait(wait)

    async def addresses(self, host: str, port: int) -> list[Any]:
        self._note("addresses")
        return await self._loop.addresses(host, port)

    async def within(self, seconds: float, act: Coroutine[object, None, None]) -> bool:
        return await self._loop.within(seconds, act)

    async def checkpoint(self) -> None:
        await self._loop.checkpoint()

    async def readable(self, wire: socket.socket) -> None:
        self._note("readable")
        await self._loop.readable(wire)

    async def writable(self, wire: socket.socket) -> None:
        self._note("writable")
        await self._loop.writable(wire)

    async def readable_or_writable(self, wire: socket.socket) -> None:
        self._note("readable_or_writable")
        await self._loop.readable_or_writable(wire)


class LoopDriver(Driver):
    """What the drivers of event loops can do besides."""

    @property
    @abstractmethod
    def loop(self) -> Loop:
        """The waits of this driver."""

    @abstractmethod
    async def pause(self) -> None:
        """Let everything else run for one round of the loop."""

    @abstractmethod
    async def cancelled_when(self, act: Callable[[], Awaitable[T]], until: Callable[[], Awaitable[object]]) -> list[T]:
        """Run ``act``, cancel it when ``until`` returns; return what it returned, or nothing when it was cancelled."""

    @abstractmethod
    async def within(self, seconds: float, act: Callable[[], Awaitable[object]]) -> bool:
        """Run ``act`` under the caller's own timeout; say whether it ended in time."""

    @abstractmethod
    def watches(self, wire: socket.socket) -> bool:
        """Say whether the loop still waits for a socket for somebody."""

    async def cancelled_after(self, rounds: int, act: Callable[[], Awaitable[T]]) -> list[T]:
        """Run ``act``, and cancel it after so many rounds of the loop."""

        async def until() -> None:
            for _ in range(rounds):
                await self.pause()

        return await self.cancelled_when(act, until)

    def on_blocked_write(self, runtime: Runtime, act: Callable[[], object]) -> None:
        WatchedLoop.of(runtime, lambda wait: act() if wait == "readable_or_writable" else None)


class Asyncio(LoopDriver):
    """``lambda_wire.asyncio``, on asyncio's own loop or on uvloop's."""

    def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async def watched() -> T:
            asyncio.get_running_loop().slow_callback_duration = float("inf")  # machines are shared
            async with asyncio.timeout(PATIENCE_S):
                result = await act()
            assert asyncio.all_tasks() == {asyncio.current_task()}
            return result

        factory = importlib.import_module("uvloop").new_event_loop if self.name == "uvloop" else None
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(watched())

    def connect(self, address: str, **options: Any) -> Runtime:
        return on_asyncio.connect(address, **options)

    def connect_caller(self, endpoint: str, **options: Any) -> Caller:
        return on_asyncio.connect_caller(endpoint, **options)

    async def at_once(self, *acts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async with asyncio.TaskGroup() as group:
            for act in acts:
                group.create_task(act())

    async def wait(self, wait: Callable[[float], object]) -> None:
        assert await asyncio.to_thread(wait, PATIENCE_S)

    @property
    def loop(self) -> Loop:
        return on_asyncio._Loop()

    async def pause(self) -> None:
        await asyncio.sleep(0)

    async def cancelled_when(self, act: Callable[[], Awaitable[T]], until: Callable[[], Awaitable[object]]) -> list[T]:
        async def run() -> T:
            return await act()

        task, canceller = asyncio.create_task(run()), asyncio.create_task(_awaiting(until))
        try:
            await asyncio.wait([task, canceller], return_when=asyncio.FIRST_COMPLETED)
        finally:
            canceller.cancel()
            task.cancel()
            await asyncio.wait([task, canceller])
        return [] if task.cancelled() else [task.result()]

    async def within(self, seconds: float, act: Callable[[], Awaitable[object]]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await act()
        except TimeoutError:
            return False
        return True

    def watches(self, wire: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        return loop.remove_reader(wire) or loop.remove_writer(wire)


async def _awaiting(act: Callable[[], Awaitable[object]]) -> None:
    await act()


class Trio(LoopDriver):
    """``lambda_wire.trio``."""

    _its_own = 0
    """How many sockets trio waits for to be woken itself."""

    def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
        import trio.testing

        async def watched() -> T:
            with trio.fail_after(PATIENCE_S):
                await trio.testing.wait_all_tasks_blocked()
                self._its_own = _waiting()
                return await act()

        return trio.run(watched)

    def connect(self, address: str, **options: Any) -> Runtime:
        from lambda_wire import trio

        return trio.connect(address, **options)

    def connect_caller(self, endpoint: str, **options: Any) -> Caller:
        from lambda_wire import trio

        return trio.connect_caller(endpoint, **options)

    async def at_once(self, *acts: Callable[[], Coroutine[Any, Any, None]]) -> None:
        import trio

        async with trio.open_nursery() as nursery:
            for act in acts:
                nursery.start_soon(act)

    async def wait(self, wait: Callable[[float], object]) -> None:
        import trio

        assert await trio.to_thread.run_sync(wait, PATIENCE_S)

    @property
    def loop(self) -> Loop:
        from lambda_wire import trio

        return trio._Loop()

    async def pause(self) -> None:
        import trio

        await trio.lowlevel.checkpoint()

    async def cancelled_when(self, act: Callable[[], Awaitable[T]], until: Callable[[], Awaitable[object]]) -> list[T]:
        import trio

        results: list[T] = []
        faults: list[Exception] = []
        said: list[type[BaseException]] = []
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def cancel() -> None:
                await until()
                scope.cancel()

            nursery.start_soon(cancel)
            with scope:
                try:
                    results.append(await act())
                except BaseException as fault:  # what is no cancellation is raised again below, outside the nursery
                    said.append(type(fault))
                    if not isinstance(fault, Exception):
                        raise
                    faults.append(fault)
            nursery.cancel_scope.cancel()
        assert BaseExceptionGroup not in said, "one cancellation was said as several"
        if faults:
            raise faults[0]
        return results

    async def within(self, seconds: float, act: Callable[[], Awaitable[object]]) -> bool:
        import trio

        with trio.move_on_after(seconds) as scope:
            await act()
        return not scope.cancelled_caught

    def watches(self, wire: socket.socket) -> bool:
        return _waiting() > self._its_own


def _waiting() -> int:
    """Return how many of trio's tasks wait for a socket, its own among them."""
    import trio

    statistics = trio.lowlevel.current_statistics().io_statistics
    return int(getattr(statistics, "tasks_waiting_read", 0) + getattr(statistics, "tasks_waiting_write", 0))


LOOPS: Final = (Asyncio("asyncio"), Asyncio("uvloop", "uvloop"), Trio("trio", "trio"))
DRIVERS: Final[tuple[Driver, ...]] = (Blocking("blocking"), *LOOPS)

_Drives = TypeVar("_Drives", bound=Driver)


def _on(drivers: tuple[_Drives, ...]) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    def decorate(behaviour: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(behaviour)
        def test(driver: _Drives, **fixtures: Any) -> None:
            driver.need()
            driver.run(functools.partial(behaviour, driver, **fixtures))
            gc.collect()  # what was left open says so now

        assert next(iter(inspect.signature(behaviour).parameters)) == "driver"
        marked: Callable[..., None] = pytest.mark.parametrize("driver", drivers, ids=lambda driver: driver.name)(test)
        return marked

    return decorate


on_every_driver: Final = _on(DRIVERS)
"""A test that is a coroutine, whose first argument is the ``driver``: once through each of the four."""

on_every_loop: Final = _on(LOOPS)
"""The same, without the blocking one."""


def wire_of(user: Runtime | Caller) -> socket.socket:
    """Return the socket that is in use."""
    return user._wire._connected()


def is_hung_up(user: Runtime | Caller) -> bool:
    """Say whether no socket is open."""
    wire: AsyncWire = user._wire
    return wire._socket is None


async def dial(user: Runtime | Caller) -> None:
    """Connect, and say nothing."""
    session = user._session
    connects = session.connect(NextAsked()) if isinstance(session, exchanges.RuntimeSession) else session.connect()
    dialled: Any = user._wire.run(connects)
    if inspect.isawaitable(dialled):  # not when it is blocking
        await dialled
