"""Call a function and show what arrives, as it arrives: what ``lambda-wire invoke`` does.

The function's bytes go to standard output as they are; everything that is said about them goes to standard error. With
``--json`` standard output has one line for each event instead.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from lambda_wire._error_payload import decode_error
from lambda_wire._errors import CallFailed, CallRefused, ConnectionLost, RemoteProtocolError
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeComplete, InvokeFailed, InvokeRefused
from lambda_wire._malformed import Malformed
from lambda_wire._shown import lines, one_line
from lambda_wire._stdout import write
from lambda_wire.sync import Caller, connect_caller

__all__ = ["run"]

_ENDPOINT: Final = "http://127.0.0.1:9000"
_TAIL: Final = {True: "Tail", False: "None"}
#: How much of a reason is shown; ``--json`` shows all of it.
_LONGEST_REASON: Final = 1000


def run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Call a function; return the exit code: 1 when it failed, could not be called, or its answer not be written.

    A service that does not say that the function failed is believed: AWS's emulator answers with the error document as
    if the function had returned it.

    Args:
        parser: Of the command; its arguments are added here.
        arguments: ``[options] [PAYLOAD]``.

    Raises:
        SystemExit: Help was printed (0), or the arguments were wrong (2).
        KeyboardInterrupt: The user has seen enough.
    """
    _add_options(parser)
    options = parser.parse_args(arguments)
    try:
        caller = connect_caller(options.endpoint)
    except Malformed as fault:
        parser.error(f"argument --endpoint: {fault}")
    payload = _payload(parser, options.payload)
    show: _Show = _Events() if options.json else _Plain()
    if sys.stdout is None:
        return _fail(show, "standard output is closed: nothing was sent")
    try:
        with caller:
            call = _stream if options.stream else _invoke
            return _told(call, caller, options, payload, show)
    except Malformed as fault:
        parser.error(f"argument --function: {fault}")
    except BrokenPipeError:  # whoever read our output has seen enough
        return 1
    except OSError as fault:  # those of the network are ConnectionLost
        return _fail(show, f"the answer cannot be written: {fault.strerror}")


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "The exit code is 1 when the function failed or could not be called; standard error says why."
    parser.add_argument(
        "--endpoint", default=_ENDPOINT, metavar="URL", help="where functions are served (default: %(default)s)"
    )
    parser.add_argument("--function", default="function", metavar="NAME", help="name or ARN (default: %(default)s)")
    parser.add_argument(
        "--stream", action="store_true", help="call it with InvokeWithResponseStream: chunks are shown as they arrive"
    )
    parser.add_argument("--tail", action="store_true", help="show the last 4 KB of its log, on standard error")
    parser.add_argument(
        "--json", action="store_true", help="show each event as a line of JSON, with its time in milliseconds"
    )
    parser.add_argument(
        "payload",
        nargs="?",
        default="{}",
        metavar="PAYLOAD",
        help="the event: JSON, @FILE, or - for standard input (default: %(default)s)",
    )


def _payload(parser: argparse.ArgumentParser, given: str) -> bytes:
    if given != "-" and not given.startswith("@"):
        return given.encode("utf-8", "surrogateescape")
    what = "standard input" if given == "-" else repr(given[1:])
    if given == "-" and sys.stdin is None:
        parser.error(f"cannot read {what}: it is closed")
    if given == "@":
        parser.error("the name of a file is missing after @")
    try:
        return sys.stdin.buffer.read() if given == "-" else Path(given[1:]).read_bytes()
    except OSError as fault:
        parser.error(f"cannot read {what}: {fault.strerror}")


# -- the call


def _told(call: _Call, caller: Caller, options: argparse.Namespace, payload: bytes, show: _Show) -> int:
    """Make the call, and tell what went wrong with it."""
    try:
        return call(caller, options.function, payload, _TAIL[options.tail], show)
    except CallRefused as fault:
        show.refused(fault.refusal)
        return _fail(show, _refused(fault.refusal, streaming=options.stream))
    except CallFailed as fault:
        show.failed(fault.failure)
        return _fail(show, str(fault))
    except ConnectionLost as fault:
        hint = "; lambda-wire local serves functions, --endpoint says where" if fault.nothing_sent else ""
        return _fail(show, f"{fault}{hint}")
    except RemoteProtocolError as fault:
        return _fail(show, f"{options.endpoint} does not speak as Lambda does: {fault}")


def _invoke(caller: Caller, function: str, payload: bytes, log_type: str, show: _Show) -> int:
    answer = caller.invoke(function, payload, log_type=log_type)
    show.answered(answer)
    if not answer.function_error:
        return 0
    return _fail(show, f"the function failed: {_reason('', answer.payload)}")


def _stream(caller: Caller, function: str, payload: bytes, log_type: str, show: _Show) -> int:
    answer = caller.invoke_with_response_stream(function, payload, log_type=log_type)
    show.accepted(answer.accepted)
    for chunk in answer:
        show.chunk(chunk)
    complete = answer.complete
    assert complete is not None  # the iterator has ended
    show.complete(complete)
    if not complete.error_code:
        return 0
    return _fail(show, f"the function failed: {_reason(complete.error_code, complete.error_details.encode())}")


# -- what is said of it


def _fail(show: _Show, message: str) -> int:
    reason = one_line(message)
    show.note(f"lambda-wire invoke: {reason[:_LONGEST_REASON]}{'...' if len(reason) > _LONGEST_REASON else ''}")
    return 1


def _refused(refusal: InvokeRefused, *, streaming: bool) -> str:
    who = f"{refusal.status} {refusal.error_type}".rstrip()
    said = f"the service refused with {who}: {refusal.message.strip()}"
    if streaming and refusal.status == 404 and not refusal.error_type:  # as AWS's emulator says it
        return f"{said} (it may have no InvokeWithResponseStream: try without --stream)"
    return said


def _reason(error_code: str, document: bytes) -> str:
    """Return what an error document says; what is none says itself."""
    text = document.decode("utf-8", "replace")
    try:
        error = decode_error(document)
    except Malformed:
        return ": ".join(filter(None, [error_code, text]))
    return ": ".join(filter(None, [error.error_type or error_code, error.error_message])) or text


def _say(text: str) -> None:
    """Say it on standard error, for what that is worth."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError):
            print(text, file=sys.stderr)


# -- what is shown


class _Show(Protocol):
    """Shows events."""

    def answered(self, event: InvokeAnswered) -> None: ...
    def accepted(self, event: InvokeAccepted) -> None: ...
    def chunk(self, payload: bytes) -> None: ...
    def complete(self, event: InvokeComplete) -> None: ...
    def failed(self, event: InvokeFailed) -> None: ...
    def refused(self, event: InvokeRefused) -> None: ...
    def note(self, text: str) -> None: ...


_Call: TypeAlias = Callable[[Caller, str, bytes, str, _Show], int]


class _Plain:
    """Bytes as they are, and a word about the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._chunks = self._size = 0
        self._line_is_open = False

    def answered(self, event: InvokeAnswered) -> None:
        if not event.function_error:
            self._show(event.payload)
            self._end_line()
        self._log(event.log_result)

    def accepted(self, event: InvokeAccepted) -> None:
        pass  # what it says of the bytes is said by --json

    def chunk(self, payload: bytes) -> None:
        self._chunks += 1
        self._size += len(payload)
        self._show(payload)

    def complete(self, event: InvokeComplete) -> None:
        took_ms = (time.monotonic() - self._began) * 1000
        ending = "incomplete" if event.error_code else "complete"
        self.note(f"{ending}: {_count(self._size, 'byte')} in {_count(self._chunks, 'chunk')}, {took_ms:.0f} ms")
        self._log(event.log_result)

    def failed(self, event: InvokeFailed) -> None:
        pass  # the error says it all

    def refused(self, event: InvokeRefused) -> None:
        pass  # likewise

    def note(self, text: str) -> None:
        self._end_line()
        _say(text)

    def _show(self, data: bytes) -> None:
        if data:
            self._line_is_open = not data.endswith(b"\n")
            write(data)

    def _end_line(self) -> None:
        """Begin a line of its own, where the answer and what is said of it meet on a terminal."""
        if self._line_is_open and sys.stdout.isatty():
            write(b"\n")
        self._line_is_open = False

    def _log(self, log_result: str) -> None:
        if log_result:
            self.note(lines(_decoded(log_result)))


class _Events:
    """One line of JSON for each event."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def answered(self, event: InvokeAnswered) -> None:
        self._show(
            "InvokeAnswered",
            status=event.status,
            content_type=event.content_type,
            function_error=event.function_error,
            executed_version=event.executed_version,
            request_id=event.request_id,
            trace_id=event.trace_id,
            **_bytes(event.payload),
            **_log(event.log_result),
        )

    def accepted(self, event: InvokeAccepted) -> None:
        self._show(
            "InvokeAccepted",
            content_type=event.content_type,
            executed_version=event.executed_version,
            request_id=event.request_id,
            trace_id=event.trace_id,
        )

    def chunk(self, payload: bytes) -> None:
        self._show("PayloadChunk", **_bytes(payload))

    def complete(self, event: InvokeComplete) -> None:
        self._show(
            "InvokeComplete",
            error_code=event.error_code,
            error_details=event.error_details,
            **_log(event.log_result),
        )

    def failed(self, event: InvokeFailed) -> None:
        self._show("InvokeFailed", error_code=event.error_code, message=event.message)

    def refused(self, event: InvokeRefused) -> None:
        self._show(
            "InvokeRefused",
            status=event.status,
            error_type=event.error_type,
            message=event.message,
            request_id=event.request_id,
        )

    def note(self, text: str) -> None:
        _say(text)

    def _show(self, event: str, **members: object) -> None:
        at_ms = round((time.monotonic() - self._began) * 1000, 3)
        write(json.dumps({"event": event, "at_ms": at_ms, **members}).encode("ascii") + b"\n")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _bytes(payload: bytes) -> dict[str, object]:
    """Return bytes as JSON can say them: as text where they are UTF-8."""
    try:
        return {"size": len(payload), "text": payload.decode()}
    except UnicodeDecodeError:
        return {"size": len(payload), "base64": b64encode(payload).decode("ascii")}


def _log(log_result: str) -> dict[str, object]:
    return {"log": _decoded(log_result)} if log_result else {}


def _decoded(log_result: str) -> str:
    """Return the log that stands in base64; what is none is shown as it stands."""
    try:
        return b64decode(log_result, validate=True).decode("utf-8", "replace")
    except ValueError:
        return log_result
