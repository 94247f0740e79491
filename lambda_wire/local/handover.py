"""A call on its way to a runtime: it waits for a poll, is sent once, and is over some time later."""

from __future__ import annotations

import asyncio
import time

from lambda_wire._events import Invocation
from lambda_wire._record import replaced
from lambda_wire.local.call import Call

__all__ = ["Handover"]


class Handover:
    """One call, given to one runtime.

    Args:
        call: What to run.
        invocation: What the runtime is told, without a deadline.
        timeout_s: How long it may take from then on.

    Attributes:
        call: The call.
        invocation: What the runtime is told.
        sent: Done when the runtime is told of it; cancelled when it is not to be told any more.
        over: Done when the environment is done with it.
        answered: Whether nothing more will come of it.
    """

    def __init__(self, call: Call, invocation: Invocation, *, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self.call: Call = call
        self.invocation: Invocation = invocation
        self.sent: asyncio.Future[None] = loop.create_future()
        self.over: asyncio.Future[None] = loop.create_future()
        self.answered: bool = False
        self._timeout_s = timeout_s

    @property
    def was_sent(self) -> bool:
        """Whether the runtime may know of it."""
        return self.sent.done() and not self.sent.cancelled()

    def begin(self) -> Invocation:
        """Return what the runtime is told now; from now on its time runs."""
        deadline_ms = int((time.time() + self._timeout_s) * 1000)
        self.invocation = replaced(self.invocation, deadline_ms=deadline_ms)
        self.sent.set_result(None)
        return self.invocation
