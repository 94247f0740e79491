"""What a reader gives of HTTP/1.1 messages, and what it says of bytes that are none."""

from __future__ import annotations

import pytest

from lambda_wire._malformed import Malformed
from lambda_wire._messages import MalformedHead, MalformedMessage, MessageEnd, TruncatedMessage


def test_bodies_stay_out_of_sight() -> None:
    """A body that was collected may be large and secret: what is shown of the end of its message is the rest."""
    assert repr(MessageEnd(body=b"secret", trailers=(("a", "b"),))) == "MessageEnd(trailers=(('a', 'b'),))"


@pytest.mark.parametrize("kind", [MalformedMessage, MalformedHead, TruncatedMessage])
def test_a_fault_says_what_where_and_how_it_is_answered(kind: type[MalformedMessage]) -> None:
    """As it was told: every word that a person or a service reads of it."""
    fault = kind("expected this, got that", at=7, status_hint=417, rule="RT-CONN-20")
    assert isinstance(fault, Malformed)
    assert str(fault) == "expected this, got that (at byte 7)"
    assert (fault.reason, fault.at, fault.status_hint, fault.rule) == ("expected this, got that", 7, 417, "RT-CONN-20")


def test_what_is_no_message_is_answered_with_400() -> None:
    """Unless it says otherwise (RT-CONN-16): a head breaks that rule, of a body whoever reads it knows which."""
    head, message = MalformedHead("no head", field="host"), MalformedMessage("no body", at=None)
    assert (str(head), head.at, head.field, head.status_hint, head.rule) == ("no head", None, "host", 400, "RT-CONN-16")
    assert (str(message), message.at, message.status_hint, message.rule) == ("no body", None, 400, "")
    assert MalformedHead("no head", at=0).field == ""
