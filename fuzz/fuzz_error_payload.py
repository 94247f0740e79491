"""Two mouths and two hands: error documents and error trailers, read and written."""

from __future__ import annotations

import json
from contextlib import suppress

from lambda_wire._error_payload import (
    MAX_TRAILER_DOCUMENT,
    ErrorPayload,
    XrayException,
    XrayFrame,
    decode_error,
    decode_trailers,
    encode_error,
    encode_trailers,
    encode_xray_cause,
    error_type_header,
    sanitise_error_type,
)
from lambda_wire._limits import MAX_ERROR_TYPE
from lambda_wire._malformed import Malformed


def one_input(data: bytes) -> None:
    """Any bytes are an error document or ``Malformed``; any text that an exception has can be reported.

    What is written is printable ASCII, fits, and is read again; trailers come back as they went.
    """
    with suppress(Malformed):
        _assert_reportable(decode_error(data))
    text = _text(data)
    _assert_reportable(ErrorPayload(error_message=text, error_type=text, stack_trace=tuple(text.split("\n"))))
    decode_trailers((("Lambda-Runtime-Function-Error-Type", text), ("lambda-runtime-function-error-body", text)))
    header = error_type_header(text)
    assert sanitise_error_type(text) in {text, "Runtime.Unknown", "Function.Unknown"}
    trailers = encode_trailers(header, data[:MAX_TRAILER_DOCUMENT])
    assert decode_trailers(trailers) == (header, data[:MAX_TRAILER_DOCUMENT])


def _text(data: bytes) -> str:
    """Return text of every kind: lone surrogates, NULs and what is beyond Latin-1 among it."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _assert_reportable(error: ErrorPayload) -> None:
    header = error_type_header(error.error_type)
    _assert_printable(header, MAX_ERROR_TYPE)
    assert error_type_header(header) == header == header.strip()
    for max_bytes in (1024, MAX_TRAILER_DOCUMENT, 1 << 20):
        document = encode_error(error, max_bytes=max_bytes)
        _assert_printable(document.decode("ascii"), max_bytes)
        again = decode_error(document)
        assert encode_error(again, max_bytes=max_bytes) == document
    stack = tuple(XrayFrame(path=entry, line=1, label=entry) for entry in error.stack_trace)
    cause = XrayException(type=error.error_type, message=error.error_message, stack=stack)
    for max_bytes in (1024, 4096):
        text = encode_xray_cause(error.error_type, (cause, cause), error.stack_trace, max_bytes=max_bytes)
        _assert_printable(text, max_bytes)
        assert list(json.loads(text)) == ["working_directory", "exceptions", "paths"]


def _assert_printable(text: str, limit: int) -> None:
    assert len(text) <= limit
    assert text.isascii()
    assert text.isprintable()
