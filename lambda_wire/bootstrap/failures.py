"""What is said of an exception: in the report to the service, to X-Ray, and in the log.

The report is that of AWS's client: message, type name, and the stack as text, beginning at the first frame that is
neither ours nor the machinery's between us and the handler.

This room is loaded when something fails, or after the first poll was sent. All that a report needs is loaded with it: a
handler that leaks file descriptors leaves none to load it with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import ContextVar
from importlib import import_module
from itertools import dropwhile
from traceback import FrameSummary, StackSummary, format_list, walk_tb

from lambda_wire import _names as names
from lambda_wire._error_payload import (
    ErrorPayload,
    XrayException,
    XrayFrame,
    encode_error,
    encode_xray_cause,
    error_type_header,
)
from lambda_wire._errors import Busy, ConnectionLost, ProtocolError, RequestRefused
from lambda_wire._events import Accepted, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Literal, TextIO

    from lambda_wire.sync import Runtime

__all__ = [
    "RuntimeFault",
    "Unanswerable",
    "cause",
    "describe",
    "ends_process",
    "flush_logs",
    "is_cancellation",
    "log_failure",
    "log_line",
    "message_of",
    "refusal",
    "say",
    "say_init_error",
    "unheard",
    "why_it_ends",
    "write_log",
]

for _needed in ("json", "binascii"):  # by the document of an error, and by its trailers
    import_module(_needed)

#: How much of a chain of causes X-Ray is told. Ours: a chain may be a loop.
_LONGEST_CHAIN: Final = 10

unheard: Final = ContextVar[Callable[[], bool]]("unheard", default=lambda: False)
"""Says whether nobody wants to know any more what the runtime has to say: in a process that has given it up, and lives
on."""


class RuntimeFault(Exception):
    """A failure that the runtime itself finds and names, such as ``Runtime.HandlerNotFound``.

    Args:
        error_type: Its name, as AWS's client has it.
        message: What is wrong.
        stack_trace: Where in the handler's source, if it is there; our own frames would tell nothing.
    """

    def __init__(self, error_type: str, message: str, stack_trace: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.error_type = error_type
        self.stack_trace = stack_trace


class Unanswerable(Exception):
    """The service gives an invocation again whose answer it refused. To run the handler again would never end."""

    def __init__(self, request_id: str) -> None:
        super().__init__(f"the service does not know invocation {request_id}, which it gave: it cannot be answered")


def ends_process(fault: BaseException) -> bool:
    """Say whether a handler that raised this meant to end the process: ``SystemExit``, ``KeyboardInterrupt`` and such.

    ``asyncio.CancelledError`` is no ``Exception`` either, but ends a task and not a process.
    """
    return not (isinstance(fault, Exception) or is_cancellation(fault))


def is_cancellation(fault: BaseException) -> bool:
    """Say whether this ends a task: what its author has not raised, and may not keep."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and isinstance(fault, asyncio.CancelledError)


def message_of(fault: BaseException) -> str:
    """Return ``str(fault)``, whatever the exception does when it is asked."""
    try:
        return str(fault)
    except BaseException as second:  # noqa: BLE001  # the failure must be reported, even if it cannot speak
        return f"({type(fault).__name__} has no message: its __str__ raised {type(second).__name__})"


def describe(fault: BaseException) -> ErrorPayload:
    """Return the error document for ``fault``, uncut.

    What ends the process is reported as ``Runtime.ExitError``, the name that the service itself gives to a runtime
    that is gone.
    """
    if isinstance(fault, RuntimeFault):
        return ErrorPayload(error_message=str(fault), error_type=fault.error_type, stack_trace=fault.stack_trace)
    error_type, message = type(fault).__name__, message_of(fault)
    if ends_process(fault):
        message = f"the runtime process ends: {error_type}{': ' if message else ''}{message}"
        error_type = names.RUNTIME_EXIT_ERROR
    return ErrorPayload(error_message=message, error_type=error_type, stack_trace=_stack_trace(fault))


def cause(fault: BaseException) -> str:
    """Return the X-Ray cause of ``fault`` and of what caused it: a header value."""
    exceptions = tuple(_xray_exception(link) for link in _chain(fault))
    paths = dict.fromkeys(frame.path for exception in exceptions for frame in exception.stack)
    directory = ""
    with suppress(OSError):  # it may have been deleted
        directory = os.getcwd()
    return encode_xray_cause(directory, exceptions, tuple(paths))


def _chain(fault: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = fault
    for _ in range(_LONGEST_CHAIN):
        if link is None:
            return
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _xray_exception(fault: BaseException) -> XrayException:
    if isinstance(fault, RuntimeFault):
        return XrayException(type=fault.error_type, message=str(fault))
    stack = (XrayFrame(path=frame.filename, line=frame.lineno or 0, label=frame.name) for frame in _frames(fault))
    return XrayException(type=type(fault).__name__, message=message_of(fault), stack=tuple(stack))


def _stack_trace(fault: BaseException) -> tuple[str, ...]:
    """Return the stack as AWS's client formats it: one text a frame, without the carets of newer Pythons."""
    return tuple(
        format_list([(frame.filename, frame.lineno or 0, frame.name, _line_of(frame)) for frame in _frames(fault)])
    )


def _line_of(frame: FrameSummary) -> str:
    try:
        return frame.line or ""
    except Exception:  # noqa: BLE001  # a file may have any name, even one that no file can have
        return ""


def _frames(fault: BaseException) -> list[FrameSummary]:
    """Return where it happened, without the frames around it that are not the handler's; if none is, the last one."""
    ours = tuple(_machinery())
    frames = StackSummary.extract(walk_tb(fault.__traceback__), lookup_lines=False)
    inner = list(dropwhile(lambda frame: frame.filename.startswith(ours), frames))
    while inner and inner[-1].filename.startswith(ours[:1]):
        inner.pop()
    return inner or list(frames[-1:])


def _machinery() -> Iterator[str]:
    """Yield where the code lies that stands between the process and the handler; first this package."""
    yield os.path.join(os.path.dirname(os.path.dirname(__file__)), "")
    yield "<frozen importlib"
    for name in ("importlib", "asyncio"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            yield os.path.join(os.path.dirname(path), "")


def refusal(refused: Refused) -> str:
    """Return what the service said, for a line in the log."""
    return f"{refused.status} {refused.error_type + ': ' if refused.error_type else ''}{refused.error_message}"


def say(what: str, report: Callable[[], Accepted | Refused]) -> None:
    """Report what ends the runtime, and log when it is not taken: there is nothing else to be done about it."""
    try:
        verdict = report()
    except (ConnectionLost, ProtocolError, Busy) as fault:
        log_line(f"the {what} could not be reported: {fault}")
        return
    if isinstance(verdict, Refused):
        log_line(f"the {what} was refused with {refusal(verdict)}")


def say_init_error(fault: BaseException, runtime: Runtime, error_type: str = "") -> None:
    """Log why no invocation can be served, and report it, as of ``error_type`` if that is not the exception's own."""
    error = describe(fault)
    log_failure(error)
    error_type, document, said = error_type or error_type_header(error.error_type), encode_error(error), cause(fault)
    say("init error", lambda: runtime.report_init_error(error_type=error_type, payload=document, xray_cause=said))


def why_it_ends(fault: BaseException, address: str) -> str | None:
    """Return what is to be said of a runtime that cannot go on; ``None`` when that is not the service's doing."""
    match fault:
        case RequestRefused():
            return f"the Runtime API at {address} refused the poll with {refusal(fault.refusal)}"
        case ConnectionLost() | ProtocolError():
            return f"cannot poll the Runtime API at {address}: {fault}"
        case Unanswerable():
            return str(fault)
        case _:
            return None


def log_failure(error: ErrorPayload) -> None:
    """Write a failure and its stack to stderr."""
    stack = "".join(error.stack_trace)
    traceback = f"Traceback (most recent call last):\n{stack}" if stack else ""
    _write(f"[ERROR] {error.error_type}: {error.error_message}\n{traceback}")


def log_line(text: str) -> None:
    """Write what the runtime has to say to stderr, as one line."""
    if not unheard.get()():
        _write(f"lambda-wire: {' '.join(text.split())}\n")


def flush_logs() -> None:
    """Let go of what the handler has written and not ended with a line."""
    for name in ("stdout", "stderr"):
        write_log(name, "")


def write_log(name: Literal["stdout", "stderr"], text: str) -> None:
    """Write to one of the streams of ``sys``, and let it leave at once.

    A handler may have closed it, or have put anything in its place: a log never decides about an answer.
    """
    with suppress(Exception):
        stream: TextIO = getattr(sys, name)
        if text:
            stream.write(text)
        stream.flush()


def _write(text: str) -> None:
    write_log("stderr", text)
