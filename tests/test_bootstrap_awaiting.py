"""The main thread waits for others, and feels signals meanwhile, whichever thread the system gives them to."""

from __future__ import annotations

import concurrent.futures
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType

import pytest

from lambda_wire.bootstrap.awaiting import Awaited
from tests.running_local import PATIENCE_S


class Felt(Exception):
    """A signal was."""


@pytest.fixture(autouse=True)
def signals() -> Generator[None, None, None]:
    """Signals raise in the main thread; the descriptor that is written to is as it was."""

    def feel(_number: int, _frame: FrameType | None) -> None:
        raise Felt

    before = signal.signal(signal.SIGUSR1, feel)
    yield
    signal.signal(signal.SIGUSR1, before)
    assert signal.set_wakeup_fd(-1) == -1


@contextmanager
def beside(awaited: Awaited[int], act: Callable[[], object]) -> Generator[None, None, None]:
    """Do that in a thread once the main thread waits, which must end the wait."""

    def run() -> bool:
        while sys._current_frames()[main].f_code is not Awaited.wait.__code__:
            pass
        act()
        ended = over.wait(PATIENCE_S)
        awaited.give(-1)
        return ended

    main = threading.main_thread().ident or 0
    over = threading.Event()
    with concurrent.futures.ThreadPoolExecutor() as threads:
        running = threads.submit(run)
        yield
        over.set()
        assert running.result()


def test_the_first_value_counts() -> None:
    """Also when it was given before anybody waited, and whatever is given later."""
    awaited: Awaited[int] = Awaited()
    awaited.give(1)
    awaited.give(2)
    assert awaited.wait() == 1
    awaited.give(3)
    assert awaited.wait() == 1


def test_another_thread_ends_the_wait() -> None:
    """Whenever it gives the value."""
    awaited: Awaited[int] = Awaited()
    with beside(awaited, lambda: awaited.give(1)):
        assert awaited.wait() == 1


def test_a_signal_handler_ends_the_wait() -> None:
    """In the middle of it."""
    awaited: Awaited[int] = Awaited()
    signal.signal(signal.SIGUSR1, lambda _number, _frame: awaited.give(1))
    with beside(awaited, lambda: signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)):
        assert awaited.wait() == 1


def test_a_signal_that_another_thread_took_is_felt() -> None:
    """As it may be by one that starts a process: the system gives it to whoever has a look."""
    awaited: Awaited[int] = Awaited()
    act = lambda: signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)  # noqa: E731  # in that thread
    with beside(awaited, act), pytest.raises(Felt):
        awaited.wait()


def test_other_threads_may_wait() -> None:
    """They feel no signals."""
    awaited: Awaited[int] = Awaited()
    heard: list[int] = []
    thread = threading.Thread(target=lambda: heard.append(awaited.wait()))
    thread.start()
    awaited.give(1)
    thread.join(PATIENCE_S)
    assert heard == [1]
