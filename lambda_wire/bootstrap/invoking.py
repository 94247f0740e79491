"""One invocation, from the event to the end of its answer."""

from __future__ import annotations

import os

from lambda_wire import _names as names
from lambda_wire._events import Invocation
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.failures import ends_process
from lambda_wire.bootstrap.loading import Handler
from lambda_wire.bootstrap.logs import current_request_id
from lambda_wire.bootstrap.marshalling import read_event
from lambda_wire.bootstrap.returning import EventLoop, send
from lambda_wire.sync import Runtime

__all__ = ["serve_invocation"]


def serve_invocation(handler: Handler, runtime: Runtime, invocation: Invocation, loop: EventLoop) -> bool:
    """Call the handler and answer with what it returns or raises.

    Returns:
        Whether the service knew the invocation when it was answered.

    Raises:
        BaseException: What the handler raised to end the process, such as ``SystemExit``; it has been reported.
    """
    answer = Answer(runtime, invocation)
    _set_trace_id(invocation.trace_id)
    current_request_id.set(invocation.request_id)
    try:
        context = LambdaContext(invocation, answer)
        send(handler(read_event(invocation), context), answer, loop)
    except BaseException as fault:
        answer.fail(fault)
        if ends_process(fault):
            raise
    finally:
        _set_trace_id("")
    return not answer.unanswerable


def _set_trace_id(trace_id: str) -> None:
    if trace_id:
        os.environ[names.ENV_TRACE_ID] = trace_id
    else:
        os.environ.pop(names.ENV_TRACE_ID, None)
