"""One invocation at a time, in this thread: the main one, where plain handlers may set signals and be interrupted.

Loaded after the first poll was sent.
"""

from __future__ import annotations

from collections.abc import Iterator

from lambda_wire._errors import ConnectionLost
from lambda_wire._events import Invocation
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.event_loop import EventLoop
from lambda_wire.bootstrap.invoking import Invoker
from lambda_wire.bootstrap.slot_loop import SlotLoop
from lambda_wire.bootstrap.stopping import CLEANUP_S, Stop, Stopped
from lambda_wire.sync import Runtime

__all__ = ["serve_alone"]


def serve_alone(invoker: Invoker, runtime: Runtime, come: list[Invocation], stop: Stop) -> None:
    """Serve invocations until it was asked to stop.

    Args:
        invoker: Answers them.
        runtime: Where they come from. A poll is open there, or answered.
        come: Its answer, taken out of here, if it has come.
        stop: Whether it was asked to stop.

    Raises:
        RequestRefused, ConnectionLost, ProtocolError, Unanswerable: Why it cannot go on; of an asked stop, too.
        BaseException: What a handler or a signal raised to end the process, such as ``SystemExit``.
    """
    ends: list[BaseException] = []

    def end(fault: BaseException) -> None:
        ends.append(fault)
        runtime.stop_polling()

    loop = EventLoop(end)
    try:
        invoker.answer(_answers(runtime, come, stop), SlotLoop(loop, alone=True, limited=invoker.limits))
    except (ConnectionLost, Stopped):
        if ends:
            raise ends.pop() from None
        raise
    finally:
        loop.close(CLEANUP_S)


def _answers(runtime: Runtime, come: list[Invocation], stop: Stop) -> Iterator[Answer]:
    """Yield what is to be answered. The poll that is open is heard out, whatever was asked meanwhile."""
    while True:
        answer = Answer(runtime, come.pop() if come else runtime.next_invocation())
        with stop.delayed():
            yield answer
        if stop.asked:
            return
        del answer  # not held while it polls
