"""What our codecs make of the vectors: a reader for each that reads, a writer for each that writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from lambda_wire._buffer import Buffer
from lambda_wire._chunked import ChunkDecoder, encode_chunk, encode_end
from lambda_wire._error_payload import (
    ErrorPayload,
    XrayException,
    XrayFrame,
    decode_error,
    decode_trailers,
    encode_error,
    encode_trailers,
    encode_xray_cause,
    sanitise_error_type,
)
from lambda_wire._event_headers import EventStreamHeader, HeaderType
from lambda_wire._event_stream import EventStreamDecoder, EventStreamMessage, encode_event_stream
from lambda_wire._events import InitErrorReported, Invocation, ResponseFailed
from lambda_wire._heads import field_line
from lambda_wire._http_event import INTERNAL_SERVER_ERROR, buffered_response, streamed_head
from lambda_wire._invocation import decode_invocation, encode_invocation
from lambda_wire._prelude import Prelude, PreludeDecoder, encode_prelude
from lambda_wire._signals import NEED_DATA, Role
from lambda_wire._types import Headers
from tests.vector_events import RUNTIME_API, Plain, event, plain


class Rejected(Exception):
    """It was refused with an answer."""

    def __init__(self, reply: Plain) -> None:
        super().__init__(reply)
        self.reply = reply


class Reader(Protocol):
    """Takes bytes; says what it heard."""

    heard: list[Plain]

    def feed(self, data: bytes) -> None:
        """Take bytes."""

    def finish(self, *, ends: bool) -> None:
        """Take note that no more bytes come in this story; ``ends`` says that the stream is over."""


class _Whole:
    """Reads what is only read when all of it is there."""

    def __init__(self, read: Callable[[bytes], list[Plain]]) -> None:
        self.heard: list[Plain] = []
        self._read = read
        self._data = b""

    def feed(self, data: bytes) -> None:
        self._data += data

    def finish(self, *, ends: bool) -> None:
        self.heard = self._read(self._data)


# -- prelude


class _Preludes:
    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._decoder = PreludeDecoder()
        self._body = b""

    def feed(self, data: bytes) -> None:
        self._decoder.feed(data)
        prelude = self._decoder.next_prelude()
        if prelude is not NEED_DATA and not self.heard:
            self.heard.append(_plain_prelude(prelude))
        self._body += self._decoder.rest()

    def finish(self, *, ends: bool) -> None:
        if ends:
            self._decoder.end()
        if self._body:
            self.heard.append({"body": self._body})


def _plain_prelude(prelude: Prelude) -> Plain:
    said: Plain = {
        "statusCode": prelude.status_code,
        "headers": dict(prelude.headers),
        "cookies": list(prelude.cookies),
    }
    if prelude.multi_value_headers:
        said["multiValueHeaders"] = {name: list(values) for name, values in prelude.multi_value_headers}
    return said


def _write_prelude(events: list[Plain]) -> bytes:
    (said,) = events
    prelude = Prelude(
        status_code=said["statusCode"],
        headers=tuple(said["headers"].items()),
        cookies=tuple(said["cookies"]),
    )
    return encode_prelude(prelude)


# -- chunks


class _Chunks:
    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._buffer = Buffer()
        self._decoder = ChunkDecoder(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)
        while (piece := self._decoder.next_piece()) is not None:
            self.heard.append({"event": "data", "body": piece})

    def finish(self, *, ends: bool) -> None:
        if self._decoder.finished:
            self.heard.append({"event": "end", "trailers": [list(pair) for pair in self._decoder.trailers]})
            if len(self._buffer):
                self.heard.append({"event": "rest", "body": self._buffer.take_up_to(len(self._buffer))})


def _write_chunks(events: list[Plain]) -> bytes:
    written = b""
    for said in events:
        trailers: Headers = tuple((name, value) for name, value in said.get("trailers", ()))
        written += encode_chunk(said["body"]) if said["event"] == "data" else encode_end(trailers)
    return written


# -- event stream messages

_LONG: Final = (HeaderType.LONG, HeaderType.TIMESTAMP)
_NUMBERS: Final = dict(zip(HeaderType, (0, 2, 3, 4, 5, 6, 7, 8, 9), strict=True))


class _Messages:
    def __init__(self, story: Plain) -> None:
        self.heard: list[Plain] = []
        self._decoder = EventStreamDecoder(Role.SERVER if story.get("for") == "service" else Role.CLIENT)

    def feed(self, data: bytes) -> None:
        self._decoder.feed(data)
        while (message := self._decoder.next_message()) is not NEED_DATA:
            headers = [_plain_header(header) for header in message.headers]
            self.heard.append({"headers": headers, "payload": message.payload})

    def finish(self, *, ends: bool) -> None:
        if ends:
            self.feed(b"")


def _plain_header(header: EventStreamHeader) -> Plain:
    value = str(header.value) if header.type in _LONG else header.value
    return {"name": header.name, "type": 1 if value is False else _NUMBERS[header.type], "value": value}


def _write_messages(events: list[Plain]) -> bytes:
    kinds = {number: kind for kind, number in _NUMBERS.items()} | {1: HeaderType.BOOLEAN}

    def header(said: Plain) -> EventStreamHeader:
        kind = kinds[said["type"]]
        value = int(said["value"]) if kind in _LONG else said["value"]
        return EventStreamHeader(name=said["name"], type=kind, value=value)

    return b"".join(
        encode_event_stream(EventStreamMessage(headers=tuple(map(header, said["headers"])), payload=said["payload"]))
        for said in events
    )


# -- errors


def _fields(lines: bytes) -> Headers:
    """Return field lines as pairs, names in lower case."""
    pairs = (line.partition(b":") for line in lines.split(b"\r\n") if line)
    return tuple(
        (name.decode().lower(), value.strip(b" \t").decode("utf-8", "surrogateescape")) for name, _, value in pairs
    )


def _read_document(data: bytes) -> list[Plain]:
    read = decode_error(data)
    return [{"errorMessage": read.error_message, "errorType": read.error_type, "stackTrace": list(read.stack_trace)}]


def _write_document(events: list[Plain]) -> bytes:
    (said,) = events
    stack = tuple(said["stackTrace"])
    return encode_error(
        ErrorPayload(error_message=said["errorMessage"], error_type=said["errorType"], stack_trace=stack)
    )


_TYPE: Final = "Lambda-Runtime-Function-Error-Type"
_BODY: Final = "Lambda-Runtime-Function-Error-Body"


def _read_trailers(data: bytes) -> list[Plain]:
    failed = decode_trailers(_fields(data))
    return [] if failed is None else [{_TYPE: failed[0], _BODY: failed[1]}]


def _write_trailers(events: list[Plain]) -> bytes:
    (said,) = events
    failed = ResponseFailed(error_type=said[_TYPE], error_body=said[_BODY])
    lines = [field_line(*pair) for pair in encode_trailers(failed.error_type, failed.error_body)]
    return "".join(lines).encode()


def _read_type(data: bytes) -> list[Plain]:
    return [{_TYPE: sanitise_error_type(data.decode())}]


def _write_type(events: list[Plain]) -> bytes:
    (said,) = events
    failed = InitErrorReported(error_type=said[_TYPE], payload=b"")
    return field_line(_TYPE, failed.error_type).encode()


def _write_cause(events: list[Plain]) -> bytes:
    (said,) = events

    def exception(each: Plain) -> XrayException:
        stack = tuple(XrayFrame(path=it["path"], line=int(it["line"]), label=it["label"]) for it in each["stack"])
        return XrayException(type=each["type"], message=each["message"], stack=stack)

    exceptions = tuple(map(exception, said["exceptions"]))
    return encode_xray_cause(said["working_directory"], exceptions, tuple(said["paths"])).encode()


# -- invocation heads


def _read_invocation(data: bytes) -> list[Plain]:
    head, _, payload = data.partition(b"\r\n\r\n")
    return [plain(decode_invocation(_fields(head), payload), RUNTIME_API)]


def _write_invocation(events: list[Plain]) -> bytes:
    (said,) = events
    invocation: Invocation = event(said, RUNTIME_API)
    lines = "".join(field_line(*pair) for pair in encode_invocation(invocation))
    return lines.encode() + b"\r\n" + invocation.payload


# -- what a function URL answers


class _Heads(_Preludes):
    """Of a streamed response."""

    def feed(self, data: bytes) -> None:
        self._decoder.feed(data)
        prelude = self._decoder.next_prelude()
        if prelude is not NEED_DATA and not self.heard:
            status, fields = streamed_head(prelude)
            self.heard.append({"status": status, "fields": [list(pair) for pair in fields]})
        self._body += self._decoder.rest()


def _read_result(data: bytes) -> list[Plain]:
    answer = buffered_response(data)
    status, fields, body = answer
    if answer is INTERNAL_SERVER_ERROR:
        raise Rejected({"status": status, "fields": [list(pair) for pair in fields], "body": body})
    return [{"status": status, "fields": [list(pair) for pair in fields]}, *([{"body": body}] if body else [])]


READERS: Final[dict[str, Callable[[Plain], Reader]]] = {
    "prelude": _Preludes,
    "chunked": _Chunks,
    "event-stream": _Messages,
    "error-document": lambda _: _Whole(_read_document),
    "error-trailers": lambda _: _Whole(_read_trailers),
    "error-type": lambda _: _Whole(_read_type),
    "invocation-head": lambda _: _Whole(_read_invocation),
    "function-url-head": _Heads,
    "function-url-result": lambda _: _Whole(_read_result),
}
WRITERS: Final[dict[str, Callable[[list[Any]], bytes]]] = {  # Any: JSON
    "prelude": _write_prelude,
    "chunked": _write_chunks,
    "event-stream": _write_messages,
    "error-document": _write_document,
    "error-trailers": _write_trailers,
    "error-type": _write_type,
    "xray-cause": _write_cause,
    "invocation-head": _write_invocation,
}
