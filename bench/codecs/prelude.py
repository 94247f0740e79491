"""The HTTP prelude of a streamed response: JSON, eight NUL bytes, then the body. The floor is ``json`` alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from bench.clients.job import Step
from lambda_wire import Prelude, PreludeDecoder, encode_prelude

__all__ = ["STEPS"]

_HEADERS: Final = (("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store"), ("x-request", "8476"))
_COOKIES: Final = ("session=8476a536; Path=/; HttpOnly", "seen=1")
_DOCUMENT: Final = {"statusCode": 200, "headers": dict(_HEADERS), "cookies": _COOKIES}
_WIRE: Final = json.dumps(_DOCUMENT).encode() + bytes(8) + b"x" * 64


def _encode_ours(_: int) -> Step:
    return lambda: encode_prelude(Prelude(status_code=200, headers=_HEADERS, cookies=_COOKIES))


def _encode_floor(_: int) -> Step:
    return lambda: json.dumps(_DOCUMENT).encode() + bytes(8)


def _decode_ours(_: int) -> Step:
    def step() -> object:
        decoder = PreludeDecoder()
        decoder.feed(_WIRE)
        return decoder.next_prelude(), decoder.rest()

    return step


def _decode_floor(_: int) -> Step:
    def step() -> object:
        document, _, rest = _WIRE.partition(bytes(8))
        return json.loads(document), rest

    return step


STEPS: Final[dict[str, dict[str, Callable[[int], Step]]]] = {
    "prelude-encode": {"floor": _encode_floor, "ours": _encode_ours},
    "prelude-decode": {"floor": _decode_floor, "ours": _decode_ours},
}
