"""The two error trailers of a stream that failed. The floor is ``json`` and ``binascii`` alone."""

from __future__ import annotations

import json
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from typing import Final

from bench.clients.job import Step
from lambda_wire import ErrorPayload, decode_error, decode_trailers, encode_error, encode_trailers

__all__ = ["STEPS"]

_STACK: Final = tuple(f'  File "/var/task/app.py", line {n}, in handler\n    raise ValueError\n' for n in range(8))
_ERROR: Final = ErrorPayload(error_message="it failed", error_type="ValueError", stack_trace=_STACK)
_DOCUMENT: Final = {"errorMessage": "it failed", "errorType": "ValueError", "stackTrace": _STACK}
_TRAILERS: Final = tuple(
    (name.lower(), value) for name, value in encode_trailers(_ERROR.error_type, encode_error(_ERROR))
)


def _encode_ours(_: int) -> Step:
    return lambda: encode_trailers(_ERROR.error_type, encode_error(_ERROR))


def _encode_floor(_: int) -> Step:
    return lambda: b2a_base64(json.dumps(_DOCUMENT).encode(), newline=False).decode()


def _decode_ours(_: int) -> Step:
    def step() -> object:
        found = decode_trailers(_TRAILERS)
        assert found is not None
        return decode_error(found[1])

    return step


def _decode_floor(_: int) -> Step:
    return lambda: json.loads(a2b_base64(dict(_TRAILERS)["lambda-runtime-function-error-body"]))


STEPS: Final[dict[str, dict[str, Callable[[int], Step]]]] = {
    "trailers-encode": {"floor": _encode_floor, "ours": _encode_ours},
    "trailers-decode": {"floor": _decode_floor, "ours": _decode_ours},
}
