"""The AWS Lambda wire, sans I/O: the front door.

Everything here is pure: it opens no sockets and reads no clocks. Drivers and programs have doors of their own, because
opening them has a price: ``lambda_wire.sync``, ``lambda_wire.asyncio``, ``lambda_wire.trio``,
``lambda_wire.exchanges``, ``lambda_wire.testing``.

Opening this one has none: a room is entered when one of its names is asked for (PEP 562). Every cold start passes here.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        CallFailed,
        CallRefused,
        ConnectionLost,
        LocalProtocolError,
        ProtocolError,
        RemoteProtocolError,
        RequestRefused,
        StreamInterrupted,
    )
    from lambda_wire._event_stream import (
        EventStreamDecoder,
        EventStreamHeader,
        EventStreamMessage,
        HeaderType,
        encode_event_stream,
        event_stream_buffers,
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
    from lambda_wire._invoke import InvokeConnection, InvokeEvent
    from lambda_wire._invoke_events import (
        InvokeAccepted,
        InvokeAnswer,
        InvokeAnswered,
        InvokeAsked,
        InvokeComplete,
        InvokeFailed,
        InvokeRefused,
        InvokeViolation,
        OtherAsked,
        PayloadChunk,
    )
    from lambda_wire._invoke_service import InvokeServiceConnection, InvokeServiceEvent
    from lambda_wire._lifecycle import Lifecycle, ManagedLifecycle, StandardLifecycle
    from lambda_wire._malformed import Malformed
    from lambda_wire._prelude import DELIMITER, Prelude, PreludeDecoder, encode_prelude
    from lambda_wire._responses import Body, HttpResponse, StreamingResponse
    from lambda_wire._routes import ROUTES, Match, Route, match, route_of, target_of
    from lambda_wire._runtime import RuntimeConnection, RuntimeEvent
    from lambda_wire._service import ServiceConnection, ServiceEvent
    from lambda_wire._signals import NEED_DATA, PAUSED, Signal
    from lambda_wire._state import ATTEMPTS, LIFECYCLE, TURNS, Act, Attempt, State, Table, Turn
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
    "Act",
    "Answer",
    "Ask",
    "Attempt",
    "Body",
    "Buffer",
    "BufferedResponse",
    "Busy",
    "BytesLike",
    "CallFailed",
    "CallRefused",
    "ChunkDecoder",
    "ConnectionClosed",
    "ConnectionLost",
    "Continue",
    "ContinueAsked",
    "ErrorPayload",
    "ErrorReported",
    "Event",
    "EventStreamDecoder",
    "EventStreamHeader",
    "EventStreamMessage",
    "HeaderType",
    "Headers",
    "HttpResponse",
    "InitErrorReported",
    "Invocation",
    "InvokeAccepted",
    "InvokeAnswer",
    "InvokeAnswered",
    "InvokeAsked",
    "InvokeComplete",
    "InvokeConnection",
    "InvokeEvent",
    "InvokeFailed",
    "InvokeRefused",
    "InvokeServiceConnection",
    "InvokeServiceEvent",
    "InvokeViolation",
    "Lifecycle",
    "LocalProtocolError",
    "Malformed",
    "ManagedLifecycle",
    "Match",
    "NextAsked",
    "OtherAsked",
    "PayloadChunk",
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
    "encode_event_stream",
    "encode_invocation",
    "encode_prelude",
    "encode_trailers",
    "encode_xray_cause",
    "error_type_header",
    "event_stream_buffers",
    "function_url_event",
    "match",
    "route_of",
    "sanitise_error_type",
    "streamed_head",
    "target_of",
]

#: Every room, and the names that come from it.
_ROOMS = """
_buffer: Buffer
_chunked: ChunkDecoder encode_chunk encode_end
_error_payload: MAX_TRAILER_DOCUMENT ErrorPayload XrayException XrayFrame decode_error decode_trailers encode_error
_error_payload: encode_trailers encode_xray_cause error_type_header sanitise_error_type
_errors: Busy CallFailed CallRefused ConnectionLost LocalProtocolError ProtocolError RemoteProtocolError
_errors: RequestRefused StreamInterrupted
_event_stream: EventStreamDecoder EventStreamHeader EventStreamMessage HeaderType encode_event_stream
_event_stream: event_stream_buffers
_events: Accepted Answer Ask BufferedResponse ConnectionClosed Continue ContinueAsked ErrorReported Event
_events: InitErrorReported Invocation NextAsked PingAsked Pong Refused ResponseChunk ResponseFailed ResponseFinished
_events: ResponseStarted RestoreAsked RestoreErrorReported RestoreReady Violation
_http_event: UrlRequest buffered_response function_url_event streamed_head
_invocation: decode_invocation encode_invocation
_invoke: InvokeConnection InvokeEvent
_invoke_events: InvokeAccepted InvokeAnswer InvokeAnswered InvokeAsked InvokeComplete InvokeFailed InvokeRefused
_invoke_events: InvokeViolation OtherAsked PayloadChunk
_invoke_service: InvokeServiceConnection InvokeServiceEvent
_lifecycle: Lifecycle ManagedLifecycle StandardLifecycle
_malformed: Malformed
_prelude: DELIMITER Prelude PreludeDecoder encode_prelude
_responses: Body HttpResponse StreamingResponse
_routes: ROUTES Match Route match route_of target_of
_runtime: RuntimeConnection RuntimeEvent
_service: ServiceConnection ServiceEvent
_signals: NEED_DATA PAUSED Signal
_state: ATTEMPTS LIFECYCLE TURNS Act Attempt State Table Turn
_types: BytesLike Headers
"""
_ROOM_OF = {
    name: room for room, _, names in (row.partition(":") for row in _ROOMS.split("\n")) for name in names.split()
}


if not TYPE_CHECKING:  # a checker would take every name for one of ours

    def __getattr__(name: str) -> object:
        room = _ROOM_OF.get(name)
        if room is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value: object = getattr(import_module(f"{__name__}.{room}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return [*globals(), *(name for name in __all__ if name not in globals())]
