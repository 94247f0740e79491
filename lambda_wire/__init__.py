"""The AWS Lambda wire, sans I/O: the front door.

Everything here is pure: it opens no sockets and reads no clocks. Drivers and programs have doors of their own, because
opening them has a price: ``lambda_wire.sync``, ``lambda_wire.exchanges``, ``lambda_wire.testing``.
"""

from __future__ import annotations

from lambda_wire._buffer import Buffer
from lambda_wire._chunked import ChunkDecoder, encode_chunk, encode_end
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
from lambda_wire._errors import (
    Busy,
    ConnectionLost,
    LocalProtocolError,
    ProtocolError,
    RemoteProtocolError,
    RequestRefused,
    StreamInterrupted,
)
from lambda_wire._events import (
    Accepted,
    Answer,
    Ask,
    BufferedResponse,
    ConnectionClosed,
    Continue,
    ContinueAsked,
    ErrorReported,
    Event,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
    Violation,
)
from lambda_wire._http_event import UrlRequest, buffered_response, function_url_event, streamed_head
from lambda_wire._invocation import decode_invocation, encode_invocation
from lambda_wire._lifecycle import Lifecycle, ManagedLifecycle, StandardLifecycle
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import DELIMITER, Prelude, PreludeDecoder, encode_prelude
from lambda_wire._responses import Body, HttpResponse, StreamingResponse
from lambda_wire._routes import ROUTES, Match, Route, match, route_of, target_of
from lambda_wire._runtime import RuntimeConnection, RuntimeEvent
from lambda_wire._service import ServiceConnection, ServiceEvent
from lambda_wire._signals import NEED_DATA, PAUSED, Signal
from lambda_wire._state import ATTEMPTS, LIFECYCLE, TURNS, Attempt, State, Table, Turn
from lambda_wire._types import BytesLike, Headers

__all__ = [
    "ATTEMPTS",
    "DELIMITER",
    "LIFECYCLE",
    "MAX_TRAILER_DOCUMENT",
    "NEED_DATA",
    "PAUSED",
    "ROUTES",
    "TURNS",
    "Accepted",
    "Answer",
    "Ask",
    "Attempt",
    "Body",
    "Buffer",
    "BufferedResponse",
    "Busy",
    "BytesLike",
    "ChunkDecoder",
    "ConnectionClosed",
    "ConnectionLost",
    "Continue",
    "ContinueAsked",
    "ErrorPayload",
    "ErrorReported",
    "Event",
    "Headers",
    "HttpResponse",
    "InitErrorReported",
    "Invocation",
    "Lifecycle",
    "LocalProtocolError",
    "Malformed",
    "ManagedLifecycle",
    "Match",
    "NextAsked",
    "PingAsked",
    "Pong",
    "Prelude",
    "PreludeDecoder",
    "ProtocolError",
    "Refused",
    "RemoteProtocolError",
    "RequestRefused",
    "ResponseChunk",
    "ResponseFailed",
    "ResponseFinished",
    "ResponseStarted",
    "RestoreAsked",
    "RestoreErrorReported",
    "RestoreReady",
    "Route",
    "RuntimeConnection",
    "RuntimeEvent",
    "ServiceConnection",
    "ServiceEvent",
    "Signal",
    "StandardLifecycle",
    "State",
    "StreamInterrupted",
    "StreamingResponse",
    "Table",
    "Turn",
    "UrlRequest",
    "Violation",
    "XrayException",
    "XrayFrame",
    "buffered_response",
    "decode_error",
    "decode_invocation",
    "decode_trailers",
    "encode_chunk",
    "encode_end",
    "encode_error",
    "encode_invocation",
    "encode_prelude",
    "encode_trailers",
    "encode_xray_cause",
    "error_type_header",
    "function_url_event",
    "match",
    "route_of",
    "sanitise_error_type",
    "streamed_head",
    "target_of",
]
