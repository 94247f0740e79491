"""Every conversation, once, as a generator of wants: of a runtime with the Runtime API, of a caller with Lambda.

A driver runs them; to write a driver for another event loop is to answer four wants::

    want = next(exchange)
    while True:
        want = exchange.send(answer_to(want))  # StopIteration carries the result

A ``Write`` without buffers is ``done`` before it begins: with ``look_first``, it is only a look at what the service has
said.

A session outlives its connections: one is kept for as long as it can be used, and another is dialled when the service
closed it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from lambda_wire._wants import Dial, Exchange, Hangup, Read, Want, Write
    from lambda_wire.exchanges.caller import (
        CallerSession,
        OpenAnswer,
        Sign,
        drop_answer,
        invoke,
        next_chunk,
        open_answer,
    )
    from lambda_wire.exchanges.runtime import (
        OpenResponse,
        RuntimeSession,
        fail_response,
        finish_response,
        next_invocation,
        next_restore,
        report_error,
        report_init_error,
        report_restore_error,
        respond,
        start_response,
        write_chunks,
    )

__all__ = [
    "CallerSession",
    "Dial",
    "Exchange",
    "Hangup",
    "OpenAnswer",
    "OpenResponse",
    "Read",
    "RuntimeSession",
    "Sign",
    "Want",
    "Write",
    "drop_answer",
    "fail_response",
    "finish_response",
    "invoke",
    "next_chunk",
    "next_invocation",
    "next_restore",
    "open_answer",
    "report_error",
    "report_init_error",
    "report_restore_error",
    "respond",
    "start_response",
    "write_chunks",
]

if not TYPE_CHECKING:  # a runtime needs nothing of a caller, and a cold start does not load it (PEP 562)

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        rooms = ("lambda_wire._wants", "lambda_wire.exchanges.runtime", "lambda_wire.exchanges.caller")
        globals()[name] = value = next(vars(room)[name] for room in map(import_module, rooms) if name in vars(room))
        return value
