"""Call a function and show what arrives, as it arrives: what ``lambda-wire invoke`` does.

The function's bytes go to standard output as they are; everything that is said about them goes to standard error. With
``--json`` standard output has one line for each event instead.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from lambda_wire._errors import CallFailed, CallRefused, ConnectionLost, RemoteProtocolError
from lambda_wire._invoke_events import InvokeAccepted, InvokeAnswered, InvokeComplete, InvokeRefused
from lambda_wire._malformed import Malformed
from lambda_wire._shown import one_line
from lambda_wire.sync import Caller, connect_caller

__all__ = ["run"]

_ENDPOINT: Final = "http://127.0.0.1:9000"
_TAIL: Final = {True: "Tail", False: "None"}


def run(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> int:
    """Call a function; return the exit code: 1 when it failed, or could not be called.

    Args:
        parser: Of the command; its arguments are added here.
        arguments: ``[options] [PAYLOAD]``.

    Raises:
        SystemExit: Help was printed (0), or the arguments were wrong (2).
    """
    _add_options(parser)
    options = parser.parse_args(arguments)
    try:
        payload = _payload(options.payload)
        caller = connect_caller(options.endpoint)
    except OSError as fault:
        parser.error(f"cannot read {options.payload[1:]!r}: {fault.strerror}")
    except Malformed as fault:
        parser.error(str(fault))
    show: _Show = _Events() if options.json else _Plain()
    try:
        with caller:
            call = _stream if options.stream else _invoke
            return call(caller, options.function, payload, _TAIL[options.tail], show)
    except CallRefused as fault:
        show.refused(fault.refusal)
        return _fail(one_line(str(fault)))
    except ConnectionLost as fault:
        return _fail(f"{fault}: lambda-wire local serves a function, --endpoint says where")
    except (CallFailed, RemoteProtocolError) as fault:
        return _fail(one_line(str(fault)))
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = None
        return 1


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--endpoint", default=_ENDPOINT, metavar="URL", help="where it is served (default: %(default)s)"
    )
    parser.add_argument("--function", default="function", metavar="NAME", help="name or ARN (default: %(default)s)")
    parser.add_argument("--stream", action="store_true", help="InvokeWithResponseStream: show each chunk as it arrives")
    parser.add_argument("--tail", action="store_true", help="show the last 4 KB of the function's log")
    parser.add_argument("--json", action="store_true", help="one line for each event, with its time in milliseconds")
    parser.add_argument("payload", nargs="?", default="", metavar="PAYLOAD", help="JSON, @FILE, or - for stdin")


def _payload(given: str) -> bytes:
    if given == "-":
        return sys.stdin.buffer.read()
    return Path(given[1:]).read_bytes() if given.startswith("@") else given.encode("utf-8", "surrogateescape")


def _fail(message: str) -> int:
    print(f"lambda-wire invoke: {message}", file=sys.stderr)
    return 1


def _invoke(caller: Caller, function: str, payload: bytes, log_type: str, show: _Show) -> int:
    answer = caller.invoke(function, payload, log_type=log_type)
    show.answered(answer)
    if not answer.function_error:
        return 0
    return _fail(f"the function failed: {one_line(answer.payload.decode('utf-8', 'replace'))}")


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
    return _fail(f"the function failed with {one_line(complete.error_code)}: {one_line(complete.error_details)}")


class _Show(Protocol):
    """Shows events."""

    def answered(self, event: InvokeAnswered) -> None: ...
    def accepted(self, event: InvokeAccepted) -> None: ...
    def chunk(self, payload: bytes) -> None: ...
    def complete(self, event: InvokeComplete) -> None: ...
    def refused(self, event: InvokeRefused) -> None: ...


class _Plain:
    """Bytes as they are, and a word about the end."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._chunks = self._size = 0

    def answered(self, event: InvokeAnswered) -> None:
        if not event.function_error:
            self._write(event.payload)
        self._log(event.log_result)

    def accepted(self, event: InvokeAccepted) -> None:
        pass  # what it says of the bytes is said by --json

    def chunk(self, payload: bytes) -> None:
        self._chunks += 1
        self._size += len(payload)
        self._write(payload)

    def complete(self, event: InvokeComplete) -> None:
        took_ms = (time.monotonic() - self._began) * 1000
        print(f"complete: {self._size} bytes in {self._chunks} chunks, {took_ms:.0f} ms", file=sys.stderr)
        self._log(event.log_result)

    def refused(self, event: InvokeRefused) -> None:
        pass  # the error says it all

    def _write(self, data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def _log(self, log_result: str) -> None:
        if log_result:
            print(_decoded(log_result).rstrip("\n"), file=sys.stderr)


class _Events:
    """One line of JSON for each event."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def answered(self, event: InvokeAnswered) -> None:
        self._say(
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
        self._say(
            "InvokeAccepted",
            content_type=event.content_type,
            executed_version=event.executed_version,
            request_id=event.request_id,
            trace_id=event.trace_id,
        )

    def chunk(self, payload: bytes) -> None:
        self._say("PayloadChunk", **_bytes(payload))

    def complete(self, event: InvokeComplete) -> None:
        self._say(
            "InvokeComplete",
            error_code=event.error_code,
            error_details=event.error_details,
            **_log(event.log_result),
        )

    def refused(self, event: InvokeRefused) -> None:
        self._say(
            "InvokeRefused",
            status=event.status,
            error_type=event.error_type,
            message=event.message,
            request_id=event.request_id,
        )

    def _say(self, event: str, **members: object) -> None:
        at_ms = round((time.monotonic() - self._began) * 1000, 3)
        print(json.dumps({"event": event, "at_ms": at_ms, **members}), flush=True)


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
