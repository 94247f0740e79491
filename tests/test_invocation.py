"""Invocation headers: what the service writes the runtime reads, and nothing malformed in them stops the loop."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_invocation import one_input
from lambda_wire._events import Invocation
from lambda_wire._invocation import decode_invocation, encode_invocation
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers

#: Field values: any text that fits in a header line, no byte lost.
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
#: Names that this version has no field for.
STRANGERS = st.from_regex(r"x-[a-z0-9!#$%&'*+.^_`|~-]{0,12}", fullmatch=True)
INVOCATIONS = st.builds(
    Invocation,
    request_id=VALUES.filter(bool),
    payload=st.binary(max_size=20),
    deadline_ms=st.none() | st.integers(0, 10**19 - 1),
    invoked_function_arn=VALUES,
    trace_id=VALUES,
    client_context=VALUES,
    cognito_identity=VALUES,
    tenant_id=VALUES,
    invocation_id=VALUES,
    content_type=VALUES,
    headers=st.lists(st.tuples(STRANGERS, VALUES), max_size=4).map(tuple),
)
ID = ("lambda-runtime-aws-request-id", "id-1")


def lowered(headers: Headers) -> Headers:
    return tuple((name.lower(), value) for name, value in headers)


@given(INVOCATIONS)
def test_what_is_written_is_read(invocation: Invocation) -> None:
    """``decode(encode(x)) == x`` through names in lower case, as every reader gives them (RT-NEXT-17)."""
    assert decode_invocation(lowered(encode_invocation(invocation)), invocation.payload) == invocation


@given(INVOCATIONS, st.randoms())
def test_the_order_of_the_fields_does_not_matter(invocation: Invocation, random: Random) -> None:
    """Nor do their capitals, which every reader makes lower (RT-NEXT-18); strangers are kept in theirs (UN-12)."""
    named = [field for field in lowered(encode_invocation(invocation)) if field not in invocation.headers]
    random.shuffle(named)
    assert decode_invocation((*named, *invocation.headers), invocation.payload) == invocation


@given(INVOCATIONS)
def test_canonical_fields_are_written_as_they_were_read(invocation: Invocation) -> None:
    """``encode(decode(b)) == b`` for what ``encode`` wrote."""
    fields = encode_invocation(invocation)
    assert encode_invocation(decode_invocation(lowered(fields), b"")) == fields


def test_all_fields_go_out_in_the_order_of_the_service() -> None:
    """Alphabetical, spelt as AWS spells them; what has no name here comes last, in its own order.

    (RT-NEXT-10, UN-12)
    """
    invocation = Invocation(
        request_id="r",
        payload=b"",
        deadline_ms=0,
        invoked_function_arn="arn",
        trace_id="t",
        client_context='{"k":"é☃"}',
        cognito_identity="{}",
        tenant_id="n",
        invocation_id="i",
        content_type="c/t",
        headers=(("x-b", ""), ("x-a", "1"), ("x-b", "2")),
    )
    assert encode_invocation(invocation) == (
        ("Content-Type", "c/t"),
        ("Lambda-Runtime-Aws-Request-Id", "r"),
        ("Lambda-Runtime-Aws-Tenant-Id", "n"),
        ("Lambda-Runtime-Client-Context", '{"k":"é☃"}'),
        ("Lambda-Runtime-Cognito-Identity", "{}"),
        ("Lambda-Runtime-Deadline-Ms", "0"),
        ("Lambda-Runtime-Invocation-Id", "i"),
        ("Lambda-Runtime-Invoked-Function-Arn", "arn"),
        ("Lambda-Runtime-Trace-Id", "t"),
        ("x-b", ""),
        ("x-a", "1"),
        ("x-b", "2"),
    )


def test_what_is_unknown_is_left_out() -> None:
    """The service sends no field without a value, and a runtime echoes an invocation id exactly when there is one.

    (RT-NEXT-8, RT-NEXT-10)
    """
    assert encode_invocation(Invocation(request_id="r", payload=b"", content_type="")) == (
        ("Lambda-Runtime-Aws-Request-Id", "r"),
    )


def test_the_least_invocation_is_an_id() -> None:
    """Everything else may be missing; a missing content type is kept as missing."""
    assert decode_invocation((ID,), b"\xff") == Invocation(request_id="id-1", payload=b"\xff", content_type="")


@pytest.mark.parametrize(
    "headers", [(), (("lambda-runtime-aws-request-id", ""),), (("lambda-runtime-aws-request-id", ""), ID)]
)
def test_without_an_id_nobody_can_answer(headers: Headers) -> None:
    """Neither the response nor an error could be posted; the first of two ids counts, even when it is empty."""
    with pytest.raises(Malformed, match="Lambda-Runtime-Aws-Request-Id"):
        decode_invocation(headers, b"{}")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "0x10",
        " 1",
        "1_000",
        "١٢٣",
        "²",
        "soon",
        "9" * 20,
        "9" * 5000,
        "0" * 20,
        "1\udcff",
    ],
)
def test_a_deadline_that_is_no_number_is_unknown(value: str) -> None:
    """Such an invocation can still be served; a huge one is not turned into an integer at all.

    (RT-NEXT-16, LI-EVENT-3)
    """
    assert decode_invocation((ID, ("lambda-runtime-deadline-ms", value)), b"").deadline_ms is None


@pytest.mark.parametrize(("value", "deadline_ms"), [("0", 0), ("1795234246162", 1795234246162), ("9" * 19, 10**19 - 1)])
def test_a_deadline_is_unix_milliseconds(value: str, deadline_ms: int) -> None:
    """Decimal, as the emulator sends it (RT-NEXT-6, LI-EVENT-3)."""
    assert decode_invocation((ID, ("lambda-runtime-deadline-ms", value)), b"").deadline_ms == deadline_ms


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("content-type", "content_type"),
        ("lambda-runtime-aws-request-id", "request_id"),
        ("lambda-runtime-aws-tenant-id", "tenant_id"),
        ("lambda-runtime-client-context", "client_context"),
        ("lambda-runtime-cognito-identity", "cognito_identity"),
        ("lambda-runtime-invocation-id", "invocation_id"),
        ("lambda-runtime-invoked-function-arn", "invoked_function_arn"),
        ("lambda-runtime-trace-id", "trace_id"),
    ],
)
def test_the_first_of_repeated_fields_wins(name: str, attribute: str) -> None:
    """As in Go's ``http.Header.Get``; the others are not kept as strangers."""
    invocation = decode_invocation(((name, "one"), (name, "two"), ID), b"")
    assert getattr(invocation, attribute) == "one"
    assert invocation.headers == ()


@pytest.mark.parametrize(("first", "deadline_ms"), [("1", 1), ("soon", None)])
def test_the_first_of_repeated_deadlines_wins(first: str, deadline_ms: int | None) -> None:
    """Also when it is no number: two readers of one message must not disagree on which field counts."""
    headers = (ID, ("lambda-runtime-deadline-ms", first), ("lambda-runtime-deadline-ms", "2"))
    assert decode_invocation(headers, b"").deadline_ms == deadline_ms


def test_fields_of_the_message_are_none_of_the_invocation() -> None:
    """Framing and time of sending belong to the answer that carried it, and would frame a second one wrongly."""
    of_the_message = ("connection", "content-length", "date", "keep-alive", "trailer", "transfer-encoding")
    headers = (*((name, "x") for name in of_the_message), ID, ("traceparent", "00-1-2-01"), ("tracestate", ""))
    assert decode_invocation(headers, b"").headers == (("traceparent", "00-1-2-01"), ("tracestate", ""))


LINES = [
    *(b"Lambda-Runtime-Aws-Request-Id: id", b"lambda-runtime-aws-request-id:", b"Lambda-Runtime-Deadline-Ms: 12"),
    *(b"Lambda-Runtime-Deadline-Ms: \xd9\xa1", b"Lambda-Runtime-Client-Context: {}", b"Content-Type: \xff"),
    *(b"x-a: 1", b"X-A:\tb", b"x-\xe9: 1", b"Date: now", b"Connection: close", b": v", b"", b"x-a: \x00"),
]


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=40))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(lines=st.lists(st.sampled_from(LINES), max_size=8))
    def test_nearly_right(self, lines: list[bytes]) -> None:
        """Fields in any order, also such as are none."""
        one_input(b"\r\n".join(lines))
