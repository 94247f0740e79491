"""Every size of the wire, in bytes, each with its source."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final


#: A buffered event, response or error document. Source: the emulator's refusal text and AWS's managed-instances
#: interop model ("6 MiB + 100 bytes"); AWS documents "6 MB". Beyond it: 413 RequestEntityTooLarge.
MAX_PAYLOAD: Final = 6 * 1024 * 1024 + 100

#: A streamed response. Source: AWS docs "Lambda quotas", 200 MB since 2025-07-31 with 1 MB = 1,024 KB.
MAX_STREAM: Final = 200 * 1024 * 1024

#: An HTTP message head. Source: Go net/http's DefaultMaxHeaderBytes, which the emulator keeps; beyond it: 431.
MAX_HEAD: Final = 1024 * 1024

#: What a ``Content-Length`` may announce. Source: Go net/http reads 63 bits (transfer.go, parseContentLength); beyond
#: it: 400 (observed with the emulator of aws-sam-cli 1.170.0).
MAX_LENGTH: Final = 2**63 - 1

#: One chunk-size line with its extensions. Source: Go net/http/internal, maxLineLength.
MAX_CHUNK_LINE: Final = 4096

#: The trailer section with its final empty line. Source: Go net/http looks for its end within one 4,096 byte buffer;
#: observed with the emulator of aws-sam-cli 1.170.0 on 2026-11-21: 4,096 bytes are accepted, more close the
#: connection without an answer and the invocation is lost.
MAX_TRAILERS: Final = 4096

#: JSON metadata before the eight NUL bytes, delimiter included. Source: AWS docs "API Gateway response transfer mode".
MAX_PRELUDE: Final = 16 * 1024

#: An error document that is posted to /error. Source: managed instances refuse more than 1 MiB with 413 (observed);
#: AWS's .NET runtime cuts its documents at 256 KiB, and so do we.
MAX_ERROR_DOCUMENT: Final = 256 * 1024

#: The X-Ray error cause header. Source: the service compacts causes above 65,536 bytes (error_cause_compactor.go).
MAX_XRAY_CAUSE: Final = 64 * 1024

#: Any one field value that we take from an exception, such as its type name. Ours: nothing on the wire limits it.
MAX_ERROR_TYPE: Final = 256

#: An event as a runtime accepts it. Ours: bounds memory, far above what any service sends (managed instances of the
#: emulator pass events above 6 MiB on uncut).
MAX_EVENT: Final = 64 * 1024 * 1024

#: How much of a refused request's body is read on so that its connection can be kept. Source: Go net/http's
#: maxPostHandlerReadBytes.
MAX_UNREAD: Final = 256 * 1024

#: The event of a synchronous invocation, as its caller may send it. Source: AWS docs "Lambda quotas" (6 MB), in the
#: words of the service's own refusal.
MAX_INVOKE_EVENT: Final = 6 * 1024 * 1024

#: The event of an asynchronous invocation. Source: AWS docs "Lambda quotas", 1 MB.
MAX_ASYNC_EVENT: Final = 1024 * 1024

#: The encoded headers of one event stream message. Source: Smithy docs "Amazon Event Stream Specification", read
#: 2026-11: services must enforce it, clients must not.
MAX_EVENT_STREAM_HEADERS: Final = 128 * 1024

#: The payload of one event stream message. Source: the same, and likewise enforced by services alone.
MAX_EVENT_STREAM_PAYLOAD: Final = 24 * 1024 * 1024

#: One string or byte array in an event stream header. Source: the same; the encoding itself, for both ends.
MAX_EVENT_STREAM_HEADER_VALUE: Final = 32_767

#: How many headers one event stream message has. Source: AWS's C library (event_stream.h of aws-c-event-stream), which
#: calls it no part of the specification; AWS's Python clients and that library's own streaming decoder read any number.
MAX_EVENT_STREAM_HEADER_COUNT: Final = 1024

#: The end of an invocation's log that its caller may have. Source: AWS docs "Invoke", LogResult ("the last 4 KB").
MAX_LOG_TAIL: Final = 4096

#: What a stream may send at once. Source: the emulator's internal/lambda/interop/model.go, ResponseBandwidthBurstSize;
#: AWS docs "Lambda quotas" say that the first 6 MB are uncapped.
STREAM_BURST: Final = 6 * 1024 * 1024

#: What it may send in each second beyond that. Source: as above, ResponseBandwidthRate; AWS documents 2 MB/s.
STREAM_RATE: Final = 2 * 1024 * 1024

#: The largest deadline, in Unix milliseconds. Ours: 19 digits hold whatever fits 64 bits, as the service's do.
MAX_DEADLINE_MS: Final = 10**19 - 1
