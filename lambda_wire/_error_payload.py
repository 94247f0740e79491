"""How an exception travels: the error document, the two trailers of a stream, the X-Ray cause, the error type.

An error report must arrive whatever the exception says of itself. So everything written here is ASCII, holds no
control character and fits its place: what is too long is cut, and the cut is visible. Everything is read as
tolerantly as the service reads it, because what runtimes send differs.

``json`` and ``binascii`` are imported when an error needs them, not before: they cost a cold start 5 ms.

Sources: AWS docs "Building a custom runtime" (the document); the emulator of aws-sam-cli 1.170.0, observed 2026-11, and
AWS's clients in eleven languages (what is really sent); the service's error_cause.go and fatalerror.go.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

from lambda_wire import _names as names
from lambda_wire._fields import require_string
from lambda_wire._json import Json, json_text, parse_json
from lambda_wire._limits import MAX_ERROR_DOCUMENT, MAX_ERROR_TYPE, MAX_TRAILERS, MAX_XRAY_CAUSE
from lambda_wire._malformed import Malformed, quote
from lambda_wire._record import field, record
from lambda_wire._types import Headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, TypeVar
else:
    from lambda_wire._typing import TypeVar


__all__ = [
    "MAX_TRAILER_DOCUMENT",
    "ErrorPayload",
    "XrayException",
    "XrayFrame",
    "decode_error",
    "decode_trailers",
    "encode_error",
    "encode_trailers",
    "encode_xray_cause",
    "error_type_header",
    "sanitise_error_type",
]

_T = TypeVar("_T")

_LEAST_ROOM: Final = 1024  # less could not hold an error type, a message and the marks of what was cut
_FIELD_OVERHEAD: Final = len(": ") + len("\r\n")
_TRAILERS_OVERHEAD: Final = (
    len(names.FUNCTION_ERROR_TYPE) + _FIELD_OVERHEAD + len(names.FUNCTION_ERROR_BODY) + _FIELD_OVERHEAD + len("\r\n")
)

MAX_TRAILER_DOCUMENT: Final = (MAX_TRAILERS - _TRAILERS_OVERHEAD - MAX_ERROR_TYPE) // 4 * 3
"""The largest error document that fits the trailers beside the longest ``error_type_header``: 3 bytes become 4."""


# -- the error document


@record
class ErrorPayload:
    """What a failed function says of its failure. Its texts may hold anything, lone surrogates too."""

    error_message: str = field(repr=False)
    error_type: str
    stack_trace: tuple[str, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        require_string(self.error_message, "error_message")
        require_string(self.error_type, "error_type")
        if type(self.stack_trace) is not tuple:
            raise Malformed(f"stack_trace must be a tuple of strings, got {type(self.stack_trace).__name__}")
        for entry in self.stack_trace:
            require_string(entry, "an entry of stack_trace")


def encode_error(error: ErrorPayload, *, max_bytes: int = MAX_ERROR_DOCUMENT) -> bytes:
    """Return the JSON document, cut to fit.

    The type is cut to ``MAX_ERROR_TYPE``, the stack loses entries from its middle, and the message its end; of what is
    left beside the type, the message never gets less than half.

    Raises:
        Malformed: ``max_bytes`` is below 1,024.
    """
    _require_room(max_bytes)
    whole = _document(error.error_message, error.error_type, error.stack_trace)
    if len(whole) <= max_bytes:
        return whole
    error_type = _cut(error.error_type, MAX_ERROR_TYPE)
    room = max_bytes - len(_document("", error_type, ()))
    message = _cut(error.error_message, max(room // 2, room - _size(error.stack_trace)))
    stack = _cut_stack(error.stack_trace, room - _size(message))
    return _document(message, error_type, stack)


def decode_error(document: bytes) -> ErrorPayload:
    """Read what any runtime, or the service itself, sends as an error document.

    Missing members are empty, other members ignored; Node's ``trace`` is read as the stack. What should be text and is
    not (Go's stack frames are objects) is given as JSON text.

    Raises:
        Malformed: This is not a JSON object, or nested too deeply to read or to give as text.
    """
    members = parse_json(document.decode("utf-8", "replace"), "an error document in JSON")
    if not isinstance(members, dict):
        raise Malformed(f"an error document must be a JSON object, got {quote(document)}")
    return _error_payload(members)


def _error_payload(members: dict[str, Json]) -> ErrorPayload:
    stack = members.get(names.STACK_TRACE, members.get("trace"))
    return ErrorPayload(
        error_message=_text(members.get(names.ERROR_MESSAGE)),
        error_type=_text(members.get(names.ERROR_TYPE)),
        stack_trace=tuple(_text(entry) for entry in stack) if isinstance(stack, list) else (),
    )


def _document(message: str, error_type: str, stack: Sequence[str]) -> bytes:
    return json_text({names.ERROR_MESSAGE: message, names.ERROR_TYPE: error_type, names.STACK_TRACE: stack}).encode(
        "ascii"
    )


def _text(value: Json) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json_text(value)


# -- the error type


def error_type_header(error_type: str) -> str:
    """Return ``error_type`` as a header value of at most ``MAX_ERROR_TYPE`` characters.

    What is not printable ASCII is escaped as in Python source, outer blanks are shown by quotes, and an end that was
    cut by ``...``. A value that is harmless stays as it is. The empty type becomes ``Runtime.Unknown``, as the service
    reads it; in trailers it would mean that nothing failed.
    """
    if not error_type:
        return names.RUNTIME_UNKNOWN
    start = error_type[: MAX_ERROR_TYPE + 1]
    # A codec would be loaded from a file, which whoever has run out of descriptors cannot open.
    shown = "".join([c if c.isascii() and c.isprintable() else ascii(c)[1:-1] for c in start])
    if error_type != error_type.strip(" "):
        shown = f'"{shown}"'
    return shown if len(shown) <= MAX_ERROR_TYPE else shown[: MAX_ERROR_TYPE - 3] + "..."


def sanitise_error_type(value: str) -> str:
    r"""Return what the service makes of the error type that a runtime sent.

    It keeps, whole, what holds ``(Runtime|Function)\.[A-Z][a-zA-Z]+`` anywhere. Source: fatalerror.go.
    """
    for dot, character in enumerate(value):
        if character == "." and value.endswith(("Runtime", "Function"), 0, dot):
            word = value[dot + 1 : dot + 3]
            if len(word) == 2 and word.isascii() and word.isalpha() and word[0].isupper():
                return value
    return names.FUNCTION_UNKNOWN if value.startswith("Function.") else names.RUNTIME_UNKNOWN


# -- the trailers of a stream that failed


def encode_trailers(error_type: str, error_body: bytes) -> Headers:
    """Return the two fields that end a stream with an error; the body is standard, padded base64.

    Raises:
        Malformed: The error type is empty, or the fields do not fit ``MAX_TRAILERS``.
    """
    from binascii import b2a_base64

    if not error_type:
        raise Malformed("the error type of a failed stream must not be empty: that would say that nothing failed")
    encoded = b2a_base64(error_body, newline=False).decode("ascii")
    size = _TRAILERS_OVERHEAD + len(error_type.encode("utf-8", "surrogatepass")) + len(encoded)
    if size > MAX_TRAILERS:
        raise Malformed(f"error trailers must fit {MAX_TRAILERS} bytes, got {size}")
    return (names.FUNCTION_ERROR_TYPE, error_type), (names.FUNCTION_ERROR_BODY, encoded)


def decode_trailers(trailers: Headers) -> tuple[str, bytes] | None:
    """Return the error type and the error document, as managed instances read them.

    ``None`` without an error type: nothing failed. The document is empty when it is missing or is not standard, padded
    base64. Of repeated fields the first counts. Observed in the emulator of aws-sam-cli 1.170.0.
    """
    first: dict[str, str] = {}
    for name, value in trailers:
        first.setdefault(name.lower(), value)
    error_type = first.get(names.FUNCTION_ERROR_TYPE.lower())
    if not error_type:
        return None
    from binascii import a2b_base64

    try:
        return error_type, a2b_base64(first.get(names.FUNCTION_ERROR_BODY.lower(), ""), strict_mode=True)
    except ValueError:
        return error_type, b""


# -- the cause for X-Ray


@record
class XrayFrame:
    """A place in the code: ``label`` is the function's name."""

    path: str
    line: int
    label: str

    def __post_init__(self) -> None:
        if not -(2**63) <= self.line < 2**63:
            raise Malformed(f"a line must fit 64 bits, or the service drops the whole cause, got {quote(self.line)}")


@record
class XrayException:
    """One exception of the chain."""

    type: str
    message: str = field(repr=False)
    stack: tuple[XrayFrame, ...] = field(default=(), repr=False)


def encode_xray_cause(
    working_directory: str,
    exceptions: tuple[XrayException, ...],
    paths: tuple[str, ...],
    *,
    max_bytes: int = MAX_XRAY_CAUSE,
) -> str:
    """Return the JSON text for ``Lambda-Runtime-Function-XRay-Error-Cause``: a harmless header value, cut to fit.

    Where it does not fit, long texts are cut, then stacks lose frames from their middle, and exceptions and paths their
    last ones. (The service itself keeps only the first so many exceptions and paths: error_cause_compactor.go.)

    Raises:
        Malformed: ``max_bytes`` is below 1,024.
    """
    _require_room(max_bytes)

    def cause(count: int, cut: Callable[[str], str]) -> str:
        return json_text(
            {
                "working_directory": cut(working_directory),
                "exceptions": [_xray_exception(exception, count, cut) for exception in exceptions[:count]],
                "paths": [cut(path) for path in paths[:count]],
            }
        )

    most = max(len(exceptions), len(paths), *(len(exception.stack) for exception in exceptions))
    whole = cause(most, str)
    if len(whole) <= max_bytes:
        return whole
    # One sixteenth for a text: the six of one exception with one frame, and one path, fit with space to spare.
    cut = cache(partial(_cut, room=max_bytes // 16))
    return cause(_largest(most, lambda count: len(cause(count, cut)) <= max_bytes), cut)


def _xray_exception(exception: XrayException, count: int, cut: Callable[[str], str]) -> dict[str, object]:
    head, lost, tail = _without_middle(exception.stack, count)
    mark = [XrayFrame(path="...", line=0, label=f"({lost} frames cut)")] if lost else []
    return {
        "message": cut(exception.message),
        "type": cut(exception.type),
        "stack": [
            {"path": cut(frame.path), "line": frame.line, "label": cut(frame.label)} for frame in (*head, *mark, *tail)
        ],
    }


# -- JSON that is cut to fit


def _size(value: object) -> int:
    """Return how many bytes a text or list takes between its quotes or brackets."""
    return len(json_text(value)) - 2


def _require_room(max_bytes: int) -> None:
    if max_bytes < _LEAST_ROOM:
        raise Malformed(f"an error report needs room for {_LEAST_ROOM} bytes, got {max_bytes}")


def _cut(text: str, room: int) -> str:
    """Return ``text``, or as much of its start as leaves space for a mark."""
    if len(text) <= room and _size(text) <= room:
        return text

    def start(count: int) -> str:
        return f"{text[:count]}... ({len(text) - count} characters cut)"

    return start(_largest(room, lambda count: _size(start(count)) <= room))


def _cut_stack(stack: Sequence[str], room: int) -> Sequence[str]:
    """Return ``stack``, or as much of its two ends as leaves space for a mark."""
    if _size(stack) <= room:
        return stack
    cut = cache(partial(_cut, room=room // 4))

    def ends(count: int) -> list[str]:
        head, lost, tail = _without_middle(stack, count)
        mark = [f"... ({lost} entries cut)"] if lost else []
        return [*map(cut, head), *mark, *map(cut, tail)]

    most = min(len(stack), room // len('"",'))
    return ends(_largest(most, lambda count: _size(ends(count)) <= room))


def _without_middle(items: Sequence[_T], count: int) -> tuple[Sequence[_T], int, Sequence[_T]]:
    """Return the first items, the number left out, and the last items; the two ends are ``count`` items together."""
    lost = max(0, len(items) - count)
    head = (len(items) - lost + 1) // 2
    return items[:head], lost, items[head + lost :]


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number up to ``most`` that fits. 0 fits, and a smaller number fits more easily."""
    low, high = 0, most
    while low < high:
        middle = (low + high) // 2 + 1
        if fits(middle):
            low = middle
        else:
            high = middle - 1
    return low
