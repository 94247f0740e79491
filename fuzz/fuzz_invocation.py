"""One mouth: the head of an invocation."""

from __future__ import annotations

from lambda_wire._invocation import decode_invocation, encode_invocation
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers


def one_input(data: bytes) -> None:
    """Any fields are an invocation or ``Malformed``; what was understood, written again, is understood as the same.

    The bytes are lines of ``name: value``, as a reader of messages gives them: names in lower case, outer blanks gone.
    """
    fields = tuple(map(_field, data.split(b"\r\n")))
    try:
        invocation = decode_invocation(fields, data)
    except Malformed:
        return
    again = tuple((name.lower(), value) for name, value in encode_invocation(invocation))
    assert decode_invocation(again, data) == invocation
    assert _strangers(again) == _strangers(fields)


def _field(line: bytes) -> tuple[str, str]:
    name, _, value = line.partition(b":")
    return name.decode("latin-1").lower(), value.strip(b" \t").decode("utf-8", "surrogateescape")


def _strangers(fields: Headers) -> Headers:
    return tuple(field for field in fields if field[0].startswith("x-"))
