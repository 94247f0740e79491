"""What a caller asks: what one end writes as target and fields, the other reads as the same event, or refuses."""

from __future__ import annotations

import importlib
from binascii import b2a_base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire._invoke_asks import (
    InvokeTarget,
    decode_invoke,
    encode_invoke,
    find_invoke,
    invoke_target,
    too_large,
    too_large_for_url,
)
from lambda_wire._invoke_events import InvokeAsked, InvokeRefused
from lambda_wire._limits import MAX_ASYNC_EVENT
from lambda_wire._types import Headers
from tests.real_parts import need_module

TARGET = InvokeTarget(function_name="f", qualifier="", streaming=False)
STREAM = InvokeTarget(function_name="f", qualifier="", streaming=True)
BAD_CONTEXT = InvokeRefused(
    status=400,
    error_type="InvalidRequestContentException",
    message="Client context must be a valid Base64-encoded JSON object.",
)

#: What Python's reader takes for a number and no other does; and numbers that are JSON, whatever Python can hold.
NO_JSON = (b"NaN", b"Infinity", b'{"a":[-Infinity]}')
NUMBERS = (b"1" * 5000, b"[1e999999]", b'{"a":-' + b"9" * 5000 + b"." + b"1" * 5000 + b"}")

#: Any text that is UTF-8, and field values: text that fits in a header line, no byte lost.
UTF8 = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.text(st.characters(exclude_categories=("Cc", "Cs")) | st.sampled_from("\t\udc80\udcff"), max_size=20).map(
    lambda text: text.strip(" \t")
)
JSONS = st.recursive(
    st.none() | st.integers() | st.text('a\u00e9\u2603\U0001f600 "\\', max_size=5),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=3,
)


def json_of(value: object) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


OTHERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.sampled_from(["authorization", "x-amz-date", "x-amzn-requestid", "cookie", "!#$"]), VALUES), max_size=3
).map(tuple)
ASKED = st.builds(
    InvokeAsked,
    function_name=UTF8.filter(bool),
    payload=JSONS.map(lambda value: json_of(value).encode()),
    streaming=st.booleans(),
    qualifier=UTF8,
    invocation_type=st.sampled_from(["RequestResponse", "Event", "DryRun"]),
    log_type=st.just("None") | VALUES.filter(bool),
    client_context=st.just("") | JSONS.map(json_of),
    tenant_id=VALUES,
    trace_id=VALUES,
    headers=OTHERS,
)


def read(event: InvokeAsked, *, method: str = "POST") -> InvokeAsked | InvokeRefused:
    """Return what a service reads of an event, through names in lower case, as every reader gives them."""
    target = find_invoke(invoke_target(event))
    assert target is not None
    headers = tuple((name.lower(), value) for name, value in encode_invoke(event))
    return decode_invoke(target, method, headers, event.payload)


def decoded(*headers: tuple[str, str], payload: bytes = b"{}", streaming: bool = False) -> InvokeAsked | InvokeRefused:
    return decode_invoke(STREAM if streaming else TARGET, "POST", headers, payload)


def refused(*headers: tuple[str, str], payload: bytes = b"{}") -> InvokeRefused:
    refusal = decoded(*headers, payload=payload)
    assert isinstance(refusal, InvokeRefused)
    return refusal


@given(ASKED)
def test_what_is_written_is_read(event: InvokeAsked) -> None:
    """``decode(encode(x)) == x`` for every call that a service takes."""
    assert read(event) == event


def test_no_payload_is_an_empty_object() -> None:
    """The one call that is heard otherwise than it was said: SDKs send nothing, and the function gets ``{}``.

    It shows IN-ASK-3.
    """
    asked = InvokeAsked(function_name="f")
    assert encode_invoke(asked) == (("Content-Length", "0"),)
    assert read(asked) == InvokeAsked(function_name="f", payload=b"{}")


class TestWrites:
    """The fields of a request."""

    def test_what_the_service_assumes_is_left_out(self) -> None:
        """So that the request is the one that SDKs send (IN-ASK-7)."""
        assert encode_invoke(InvokeAsked(function_name="f", payload=b"[1]")) == (("Content-Length", "3"),)

    def test_everything(self) -> None:
        """The fields of the model, then what the signer made, then the length (IN-ASK-7, IN-ASK-10, IN-ASK-11)."""
        asked = InvokeAsked(
            function_name="f",
            payload=b"{}",
            invocation_type="DryRun",
            log_type="Tail",
            client_context='{"a":"\u00e9"}',
            tenant_id="t",
            trace_id="Root=1",
            headers=(("authorization", "a"), ("x-amz-date", "d")),
        )
        assert encode_invoke(asked) == (
            ("X-Amz-Invocation-Type", "DryRun"),
            ("X-Amz-Log-Type", "Tail"),
            ("X-Amz-Client-Context", "eyJhIjoiw6kifQ=="),
            ("X-Amz-Tenant-Id", "t"),
            ("X-Amzn-Trace-Id", "Root=1"),
            ("authorization", "a"),
            ("x-amz-date", "d"),
            ("Content-Length", "2"),
        )


TARGETS = [
    (InvokeAsked(function_name="f"), "/2015-03-31/functions/f/invocations"),
    (InvokeAsked(function_name="f", qualifier="$LATEST"), "/2015-03-31/functions/f/invocations?Qualifier=%24LATEST"),
    (InvokeAsked(function_name="f", streaming=True), "/2021-11-15/functions/f/response-streaming-invocations"),
    (
        InvokeAsked(function_name="arn:aws:lambda:r:1:function:f", streaming=True, qualifier="a b&c"),
        "/2021-11-15/functions/arn%3Aaws%3Alambda%3Ar%3A1%3Afunction%3Af/response-streaming-invocations?Qualifier=a%20b%26c",
    ),
    (InvokeAsked(function_name="a/b?c%d\u00e9\n"), "/2015-03-31/functions/a%2Fb%3Fc%25d%C3%A9%0A/invocations"),
]


class TestTargets:
    """Which function a request line names."""

    @pytest.mark.parametrize(("event", "target"), TARGETS)
    def test_both_ways(self, event: InvokeAsked, target: str) -> None:
        """Name and qualifier are one segment and one parameter, whatever they are.

        It shows IN-PATH-1, IN-PATH-2, IN-PATH-3, IN-PATH-5.
        """
        assert invoke_target(event) == target
        assert find_invoke(target) == InvokeTarget(
            function_name=event.function_name, qualifier=event.qualifier, streaming=event.streaming
        )

    def test_in_absolute_form(self) -> None:
        """A server must take it (RFC 9112, 3.2.2; IN-PATH-8)."""
        found = find_invoke("http://host:1/2015-03-31/functions/f/invocations?Qualifier=1")
        assert found == InvokeTarget(function_name="f", qualifier="1", streaming=False)

    @pytest.mark.parametrize(
        "target",
        [
            "", "/", "*", "/x", "/2015-03-31/functions/", "/2015-03-31/functions/invocations",
            "/2015-03-31/functions//invocations", "/2015-03-31/functions/a/b/invocations",
            "/2015-03-31/functions/f/invocations/", "/2015-03-31/functions/f/invoke-async",
            "/2015-03-31/functions/f/response-streaming-invocations", "/2021-11-15/functions/f/invocations",
            "/2015-03-31/functions/f?/invocations", "//2015-03-31/functions/f/invocations",
        ],
    )  # fmt: skip
    def test_of_something_else(self, target: str) -> None:
        """Then it is no Invoke's (IN-PATH-10)."""
        assert find_invoke(target) is None

    @pytest.mark.parametrize(
        ("query", "qualifier"),
        [("", ""), ("Qualifier=", ""), ("Qualifier", ""), ("qualifier=1", ""), ("a=b&Qualifier=1&Qualifier=2", "1"),
         ("Qualifier=a=b", "a=b"), ("Qualifier=a+b", "a+b"), ("Qualifier=%E9%", "\ufffd%"), ("&&", "")],
    )  # fmt: skip
    def test_qualifiers(self, query: str, qualifier: str) -> None:
        """The first one counts; what cannot be decoded stays, or is no text (IN-PATH-6, IN-PATH-7)."""
        found = find_invoke(f"/2015-03-31/functions/%41:B/invocations?{query}")
        assert found == InvokeTarget(function_name="A:B", qualifier=qualifier, streaming=False)


class TestReads:
    """What a service takes, and what it refuses."""

    def test_nothing_but_a_target(self) -> None:
        """Every field has a default."""
        assert decoded(payload=b"") == InvokeAsked(function_name="f", payload=b"{}")
        assert decoded(("x-amz-invocation-type", ""), ("x-amz-log-type", ""), ("x-amz-client-context", "")) == (
            InvokeAsked(function_name="f", payload=b"{}")
        )

    def test_fields_of_the_message_are_dropped(self) -> None:
        """What else came is kept, in order."""
        asked = decoded(
            *(("host", "h"), ("user-agent", "u"), ("content-length", "2"), ("x-b", "1"), ("connection", "close")),
            *(("accept-encoding", "identity"), ("x-b", "2"), ("content-type", "a/b"), ("expect", "100-continue")),
        )
        assert asked == InvokeAsked(
            function_name="f", payload=b"{}", headers=(("x-b", "1"), ("accept-encoding", "identity"), ("x-b", "2"))
        )

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "post"])
    def test_other_methods(self, method: str) -> None:
        """405, with the one that is allowed (IN-PATH-9)."""
        refusal = read(InvokeAsked(function_name="f"), method=method)
        assert isinstance(refusal, InvokeRefused)
        assert (refusal.status, refusal.error_type) == (405, "MethodNotAllowedException")
        assert refusal.headers == (("allow", "POST"),)

    @pytest.mark.parametrize("kind", ["requestresponse", "Sync", "\udcff"])
    def test_other_invocation_types(self, kind: str) -> None:
        """400, with what was asked for, in bounds (IN-ASK-9)."""
        refusal = refused(("x-amz-invocation-type", kind))
        assert (refusal.status, refusal.error_type) == (400, "InvalidParameterValueException")
        assert refusal.message == f"Unknown invocation type {kind!r}"
        assert len(refused(("x-amz-invocation-type", "x" * 9999)).message) < 100

    @pytest.mark.parametrize("payload", [b"{", b"\xff", b"a", b" ", b"[" * 100_000, b'{"a":1}x', *NO_JSON])
    def test_what_is_no_json(self, payload: bytes) -> None:
        """400: a function's event is JSON (IN-ASK-2)."""
        refusal = refused(payload=payload)
        assert (refusal.status, refusal.error_type) == (400, "InvalidRequestContentException")
        assert refusal.message.startswith("Could not parse request body into json: expected JSON in UTF-8")
        assert len(refusal.message) < 300

    @pytest.mark.parametrize("payload", NUMBERS)
    def test_numbers_of_any_size(self, payload: bytes) -> None:
        """They are JSON (RFC 8259, 6), and what becomes of them is the function's business (IN-ASK-2)."""
        assert decoded(payload=payload) == InvokeAsked(function_name="f", payload=payload)

    def test_sizes_of_asynchronous_events(self) -> None:
        """1 MiB, and 413 above; the streaming path runs ``Event`` like everything else (IN-ASK-6)."""
        event = ("x-amz-invocation-type", "Event")
        large = b'"' + b"x" * (MAX_ASYNC_EVENT - 2) + b'"'
        assert isinstance(decoded(event, payload=large), InvokeAsked)
        assert refused(event, payload=large + b" ") == too_large(MAX_ASYNC_EVENT)
        assert isinstance(decoded(event, payload=large + b" ", streaming=True), InvokeAsked)
        assert isinstance(decoded(payload=large + b" "), InvokeAsked)

    def test_too_large(self) -> None:
        """In the service's words (IN-ERROR-17)."""
        assert too_large(6291456) == InvokeRefused(
            status=413,
            error_type="RequestTooLargeException",
            message="Request must be smaller than 6291456 bytes for the InvokeFunction operation",
        )

    def test_too_large_for_a_url(self) -> None:
        """Neither an error nor an operation has a name there (FU-EVENT-39)."""
        message = "Request must be smaller than 6291456 bytes"
        assert too_large_for_url(6291456) == InvokeRefused(status=413, message=message)


def test_a_durable_execution_is_carried() -> None:
    """As any other field (IN-ASK-19)."""
    asked = InvokeAsked(function_name="f", payload=b"{}", headers=(("x-amz-durable-execution-name", "d"),))
    assert encode_invoke(asked)[0] == ("x-amz-durable-execution-name", "d")
    assert read(asked) == asked


def test_statuses_are_those_of_the_model() -> None:
    """Of every error that we name and the model has (IN-ERROR-15)."""
    need_module("botocore")
    service = importlib.import_module("botocore.session").get_session().get_service_model("lambda")
    for refusal in (too_large(1), refused(payload=b"{"), refused(("x-amz-invocation-type", "x")), BAD_CONTEXT):
        assert service.shape_for(refusal.error_type).metadata["error"]["httpStatusCode"] == refusal.status


class TestClientContexts:
    """JSON in base64; the function gets it as a header value."""

    @pytest.mark.parametrize(
        ("context", "text"),
        [
            (b'{"a":1}', '{"a":1}'),
            (b'\n{\r\n "a":\t1}\n', '{   "a":\t1}'),
            (b'\t{"a":"\x7f"} ', '{"a":" "}'),
            ('{"custom":{"\u043a":"\u2603"}}'.encode(), '{"custom":{"\u043a":"\u2603"}}'),
            (b"null", "null"),
            *((number, number.decode()) for number in NUMBERS),
        ],
    )
    def test_taken(self, context: bytes, text: str) -> None:
        """Control characters, such as the line breaks of a pretty document, become blanks, outer ones are dropped.

        It shows IN-ASK-14.
        """
        asked = decoded(("x-amz-client-context", b2a_base64(context, newline=False).decode()))
        assert asked == InvokeAsked(function_name="f", payload=b"{}", client_context=text)
        assert read(asked) == asked

    @pytest.mark.parametrize(
        "encoded",
        ["e30", "e30=e30=", "e3=0", "e 30=", "====", "\u00e9", "\udcff", "e30\u0130", "{}", "AA==", "/w==", "Cg==",
         "eyJhIjoiXHUwMDAw", *(b2a_base64(context, newline=False).decode() for context in NO_JSON)],
    )  # fmt: skip
    def test_refused(self, encoded: str) -> None:
        """What is no base64, not even ASCII, or no JSON in UTF-8: 400, and nothing else leaves (IN-ASK-13)."""
        assert refused(("x-amz-client-context", encoded)) == BAD_CONTEXT


@given(
    st.dictionaries(
        st.sampled_from(["x-amz-client-context", "x-amz-invocation-type", "x-amz-log-type", "x-a"]), VALUES
    ),
    st.binary(max_size=5),
    st.booleans(),
)
def test_whatever_comes_is_taken_or_refused(headers: dict[str, str], payload: bytes, streaming: bool) -> None:
    """No field value and no body is beyond words, and what is taken can be said again."""
    asked = decoded(*headers.items(), payload=payload, streaming=streaming)
    assert isinstance(asked, InvokeRefused) or read(asked) == asked


def test_another_method_is_told_which() -> None:
    """And why."""
    refused = decode_invoke(TARGET, "GET", (), b"")
    assert isinstance(refused, InvokeRefused)
    assert (refused.status, refused.message) == (405, "Invoke is a POST")


def test_a_url_in_the_query_is_no_authority() -> None:
    """Only what comes before the path is taken from an absolute target."""
    found = find_invoke("http://h/2015-03-31/functions/f/invocations?a=b://c/d&Qualifier=1")
    assert found == InvokeTarget(function_name="f", qualifier="1", streaming=False)
