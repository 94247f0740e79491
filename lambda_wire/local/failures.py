"""The failures that the service itself finds, with the documents that AWS gives to the caller of Invoke."""

from __future__ import annotations

import json
import signal
from typing import Final

from lambda_wire import _names as names
from lambda_wire.local.call import Failure

__all__ = [
    "INVALID_RESPONSE_MODE",
    "STOPPED",
    "describe_exit",
    "duplicated",
    "exited",
    "init_timed_out",
    "no_entrypoint",
    "oversized",
    "reported",
    "reported_midway",
    "sandbox_failed",
    "stopped",
    "timed_out",
    "truncated",
    "unavailable",
]

# All from ER-TYPE-8.
#: The command cannot be started.
_INVALID_ENTRYPOINT: Final = "Runtime.InvalidEntrypoint"
#: The platform's own fault.
_SANDBOX_FAILURE: Final = "Sandbox.Failure"
#: Of managed instances.
_UNAVAILABLE: Final = "Runtime.Unavailable"
_DUPLICATED: Final = "Client.DuplicatedInvokeId"
_INVALID_RESPONSE_MODE: Final = "Runtime.InvalidResponseModeHeader"

STOPPED: Final = "stopped"
"""The status of an invocation that ended because we were stopped, not as it would on AWS."""


def _failure(error_type: str, message: str, *, cuts: bool = True, status: str = "error") -> Failure:
    document = json.dumps({names.ERROR_TYPE: error_type, names.ERROR_MESSAGE: message}, separators=(",", ":"))
    return Failure(error_type=error_type, document=document.encode("ascii"), cuts=cuts, status=status)


INVALID_RESPONSE_MODE: Final = _failure(_INVALID_RESPONSE_MODE, "the runtime answered in a response mode that is none")
"""The runtime's answer was refused, and that was the end of it."""


def exited(request_id: str, how: str) -> Failure:
    """The runtime ended before it had answered."""
    return _failure(names.RUNTIME_EXIT_ERROR, f"RequestId: {request_id} Error: {how}")


def describe_exit(returncode: int) -> str:
    """Return what the service says of a process that ended (the emulator; Go's names of signals)."""
    if returncode == 0:
        return "Runtime exited without providing a reason"
    if returncode > 0:
        return f"Runtime exited with error: exit status {returncode}"
    name = (signal.strsignal(-returncode) or f"signal {-returncode}").lower()
    return f"Runtime exited with error: signal: {name}"


def no_entrypoint(request_id: str, reason: str) -> Failure:
    """The runtime could not be started at all."""
    return _failure(_INVALID_ENTRYPOINT, f"RequestId: {request_id} Error: {reason}")


def timed_out(request_id: str, timeout_s: float) -> Failure:
    """The deadline passed."""
    message = f"RequestId: {request_id} Error: Task timed out after {timeout_s:.2f} seconds"
    return _failure(names.SANDBOX_TIMEDOUT, message, status="timeout")


def unavailable(request_id: str, timeout_s: float) -> Failure:
    """The runtime was alive, and asked for no work in all that time."""
    message = f"RequestId: {request_id} Error: the runtime has not asked for work for {timeout_s:.2f} seconds"
    return _failure(_UNAVAILABLE, message, status="timeout")


def duplicated(request_id: str) -> Failure:
    """The environment runs an invocation of that id, so that an answer would belong to both."""
    return _failure(_DUPLICATED, f"RequestId: {request_id} Error: an invocation of that id is running")


def init_timed_out(request_id: str, limit_s: float) -> Failure:
    """The runtime did not ask for work in time, so that no task has begun."""
    message = f"RequestId: {request_id} Error: Init timed out after {limit_s:.2f} seconds"
    return _failure(names.SANDBOX_TIMEDOUT, message, status="timeout")


def truncated(request_id: str) -> Failure:
    """The runtime's answer was lost, and the runtime went on."""
    message = f"RequestId: {request_id} Error: the runtime's answer ended before it was complete"
    return _failure(names.RUNTIME_TRUNCATED_RESPONSE, message)


def oversized(limit: int) -> Failure:
    """The answer was too large. A stream ends cleanly there (InvokeWithResponseStream, recorded 2026-09)."""
    message = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return _failure(names.FUNCTION_RESPONSE_SIZE_TOO_LARGE, message, cuts=False)


def sandbox_failed(request_id: str) -> Failure:
    """The embedded Lambda failed, not the function."""
    return _failure(_SANDBOX_FAILURE, f"RequestId: {request_id} Error: the embedded Lambda failed")


def stopped(request_id: str) -> Failure:
    """The embedded Lambda was stopped while the function ran."""
    message = f"RequestId: {request_id} Error: the embedded Lambda was stopped"
    return _failure(_SANDBOX_FAILURE, message, status=STOPPED)


def reported(error_type: str, document: bytes) -> Failure:
    """The runtime reported an error instead of an answer; its document goes on as it is."""
    return Failure(error_type=_text(error_type) or names.RUNTIME_UNKNOWN, document=document, cuts=False)


def reported_midway(error_type: str, document: bytes) -> Failure:
    """The runtime ended its stream with the error trailers."""
    if document:
        return Failure(error_type=_text(error_type), document=document, cuts=False)
    return _failure(_text(error_type), "", cuts=False)


def _text(error_type: str) -> str:
    """Return a field's value as text: a runtime may have put any bytes there."""
    return error_type.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
