"""One invocation, from the event to the end of its answer."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from contextvars import copy_context

from lambda_wire import _names as names
from lambda_wire._events import Invocation
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.failures import Unanswerable, ends_process, flush_logs
from lambda_wire.bootstrap.loading import Handler
from lambda_wire.bootstrap.logs import current_request_id
from lambda_wire.bootstrap.marshalling import read_event, takes_bytes
from lambda_wire.bootstrap.returning import send
from lambda_wire.bootstrap.slot_loop import SlotLoop
from lambda_wire.bootstrap.stopping import CLEANUP_S, Stopped

__all__ = ["Invoker"]


class Invoker:
    """Calls one handler for invocations, each with context variables of its own.

    Args:
        handler: What is called.
        alone: Whether one invocation runs in this process at a time. Only then ``_X_AMZN_TRACE_ID`` can be set.
        margin_ms: How long before its deadline an async handler is cancelled; never when ``None``.
        environment: What contexts are told by.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        alone: bool,
        margin_ms: int | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._handler = handler
        self._takes_bytes = takes_bytes(handler)
        self._alone = alone
        self._margin_ms = margin_ms
        self._environment = environment

    @property
    def limits(self) -> bool:
        """Whether async handlers are cancelled before their deadline."""
        return self._margin_ms is not None

    def answer(self, answers: Iterable[Answer], loop: SlotLoop) -> None:
        """Answer one invocation after the other with what the handler returns or raises.

        Raises:
            Unanswerable: The service gives an invocation again whose answer it refused.
            BaseException: What the handler raised to end the process, such as ``SystemExit``; it has been reported.
                And whatever ``answers`` raises.
        """
        unanswerable: tuple[str, str] | None = None
        for answer in answers:
            attempt = answer.request_id, answer.invocation.invocation_id
            if attempt == unanswerable:
                raise Unanswerable(answer.request_id)
            copy_context().run(self._invoke, answer, loop)
            answer.close()
            unanswerable = attempt if answer.unanswerable else None
            flush_logs()
            del answer  # not held while it polls

    def _invoke(self, answer: Answer, loop: SlotLoop) -> None:
        invocation = answer.invocation
        current_request_id.set(invocation.request_id)
        self._set_trace_id(invocation.trace_id)
        try:
            context = LambdaContext(invocation, answer, loop, self._environment)
            result = self._handler(invocation.payload if self._takes_bytes else read_event(invocation), context)
            send(result, answer, loop, self._limit_s(invocation))
        except BaseException as fault:
            answer.fail(fault, patience_s=CLEANUP_S if isinstance(fault, Stopped) else -1)
            if ends_process(fault):
                raise
        finally:
            self._set_trace_id("")
            answer.forget_faults()

    def _limit_s(self, invocation: Invocation) -> float | None:
        """Return how long an async handler may run from now on."""
        if self._margin_ms is None or invocation.deadline_ms is None:
            return None
        return (invocation.deadline_ms - self._margin_ms) / 1000 - time.time()

    def _set_trace_id(self, trace_id: str) -> None:
        if not self._alone:
            return
        if trace_id:
            os.environ[names.ENV_TRACE_ID] = trace_id
        else:
            os.environ.pop(names.ENV_TRACE_ID, None)
