"""For tests of code that speaks the Lambda wire: an in-process Lambda, connection pairs, byte cutters.

with LocalLambda(handler) as fn:
    assert fn.invoke({"name": "Ada"}) == "Hello, Ada!"
    assert list(fn.stream({"count": 2})) == [b"1", b"2"]
    assert urllib.request.urlopen(fn.url).status == 200
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lambda_wire.testing.cuts import deliveries
from lambda_wire.testing.pairs import ConnectedPair, connected_pair

if TYPE_CHECKING:
    from lambda_wire.testing.local_lambda import FunctionError, LocalLambda, Stream

__all__ = ["ConnectedPair", "FunctionError", "LocalLambda", "Stream", "connected_pair", "deliveries"]


if not TYPE_CHECKING:  # whoever tests pure code loads no event loop (PEP 562)

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from lambda_wire.testing import local_lambda

        globals()[name] = value = getattr(local_lambda, name)
        return value
