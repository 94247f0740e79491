"""The function URL's two mappings, held to what AWS was recorded to do (2026-09)."""

from __future__ import annotations

import base64
import json
import time
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.fuzz_http_event import one_input
from lambda_wire._http_event import (
    INTERNAL_SERVER_ERROR,
    UrlRequest,
    buffered_response,
    function_url_event,
    media_type,
    streamed_head,
)
from lambda_wire._json import Json
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import DELIMITER, Prelude
from lambda_wire._types import Headers

JSON = ("content-type", "application/json")
OCTETS = ("content-type", "application/octet-stream")


def request(
    target: str = "/", *, method: str = "GET", headers: Headers = (), body: bytes = b"", time_ms: int = 1789473218318
) -> UrlRequest:
    return UrlRequest(
        method=method,
        target=target,
        headers=headers,
        body=body,
        source_ip="192.0.2.7",
        request_id="23957ec0-9c8b-4571-8801-ee0fa712d717",
        trace_id="Self=1-6aa931c2-2015b91873c3c90214f49ec1;Root=1-6aa931c2-6a1161c46ac2a05361ba9867",
        time_ms=time_ms,
        domain_name="urlid.lambda-url.us-east-1.on.aws",
        port=443,
        scheme="https",
    )


def members(event: object, *keys: str) -> dict[str, Json]:
    """Walk down through the objects of an event, as the function will read it."""
    value: Json = json.loads(json.dumps(event))
    for key in keys:
        assert isinstance(value, dict)
        value = value[key]
    assert isinstance(value, dict)
    return value


def part(event: object, *keys: str) -> Json:
    """Return the member that the last key names."""
    return members(event, *keys[:-1])[keys[-1]]


class TestEvent:
    """HTTP request -> payload format 2.0."""

    def test_a_recorded_get(self) -> None:
        """A GET without a body gives the event that was recorded, key order too; header order means nothing.

        It shows FU-EVENT-1, FU-EVENT-2, FU-EVENT-4, FU-EVENT-15, FU-EVENT-25, FU-EVENT-26, FU-EVENT-28, FU-EVENT-29.
        """
        sent = (("host", "urlid.lambda-url.us-east-1.on.aws"), ("user-agent", "probe/1"), ("connection", "close"))
        event = function_url_event(request(headers=sent))
        recorded = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": "/",
            "rawQueryString": "",
            "headers": {
                "content-length": "0",
                "x-amzn-trace-id": "Self=1-6aa931c2-2015b91873c3c90214f49ec1;Root=1-6aa931c2-6a1161c46ac2a05361ba9867",
                "x-forwarded-proto": "https",
                "host": "urlid.lambda-url.us-east-1.on.aws",
                "x-forwarded-port": "443",
                "x-forwarded-for": "192.0.2.7",
                "user-agent": "probe/1",
            },
            "requestContext": {
                "accountId": "anonymous",
                "apiId": "urlid",
                "domainName": "urlid.lambda-url.us-east-1.on.aws",
                "domainPrefix": "urlid",
                "http": {
                    "method": "GET",
                    "path": "/",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "192.0.2.7",
                    "userAgent": "probe/1",
                },
                "requestId": "23957ec0-9c8b-4571-8801-ee0fa712d717",
                "routeKey": "$default",
                "stage": "$default",
                "time": "15/Sep/2026:11:53:38 +0000",
                "timeEpoch": 1789473218318,
            },
            "isBase64Encoded": False,
        }
        assert event == recorded
        for keys in ([], ["requestContext"], ["requestContext", "http"]):
            assert list(members(event, *keys)) == list(members(recorded, *keys))

    def test_the_order_of_all_keys(self) -> None:
        """The cookies stand before headers, the query after them, the body before its flag (FU-EVENT-1)."""
        sent = (("cookie", "a=1"), ("content-type", "text/plain"))
        event = function_url_event(request("/?q=1", method="POST", headers=sent, body=b"hi"))
        assert list(event) == [
            "version", "routeKey", "rawPath", "rawQueryString", "cookies", "headers", "queryStringParameters",
            "requestContext", "body", "isBase64Encoded",
        ]  # fmt: skip

    def test_a_recorded_path_and_query(self) -> None:
        """Both rawPath and rawQueryString stay as received; path and parameters are decoded.

        It shows FU-EVENT-6, FU-EVENT-7, FU-EVENT-8, FU-EVENT-9.
        """
        query = "dup=one&dup=two%2Cthree&plus=a+b&encoded=a%2Bb&empty=&bare&%65nc=one&enc=two"
        event = function_url_event(request("/a%2Fb/%E2%98%83/space%20here?" + query))
        assert event["rawPath"] == "/a%2Fb/%E2%98%83/space%20here"
        assert event["rawQueryString"] == query
        assert part(event, "requestContext", "http", "path") == "/a/b/☃/space here"
        assert event["queryStringParameters"] == {
            "dup": "one,two,three",
            "plus": "a b",
            "encoded": "a+b",
            "empty": "",
            "bare": "",
            "enc": "one,two",
        }

    @pytest.mark.parametrize("target", ["/", "/?"])
    def test_no_query(self, target: str) -> None:
        """An empty query is an empty string and no parameters (FU-EVENT-8, FU-EVENT-10)."""
        event = function_url_event(request(target))
        assert event["rawQueryString"] == ""
        assert "queryStringParameters" not in event

    def test_a_query_without_a_name(self) -> None:
        """It is one, and has no parameters (FU-EVENT-10)."""
        assert function_url_event(request("/?&"))["queryStringParameters"] == {}

    def test_a_query_may_hold_question_marks(self) -> None:
        """The first question mark begins the query."""
        event = function_url_event(request("/p?a=b?c&&=d"))
        assert event["rawQueryString"] == "a=b?c&&=d"
        assert event["queryStringParameters"] == {"a": "b?c", "": "d"}

    def test_recorded_cookies(self) -> None:
        """One entry a pair over all Cookie lines; the header stays, its lines joined (FU-EVENT-19, FU-EVENT-20)."""
        event = function_url_event(request(headers=(("cookie", "a=1; b=two"), ("cookie", "c=3"))))
        assert event["cookies"] == ["a=1", "b=two", "c=3"]
        assert part(event, "headers", "cookie") == "a=1; b=two,c=3"

    @pytest.mark.parametrize("value", ["", " ; ;"])
    def test_no_cookies(self, value: str) -> None:
        """Without a pair there is no key (FU-EVENT-21)."""
        assert "cookies" not in function_url_event(request(headers=(("cookie", value),)))

    def test_joins_headers(self) -> None:
        """Repeated headers are joined with a comma (FU-EVENT-11)."""
        event = function_url_event(request(headers=(("x-a", "one"), ("x-b", "1"), ("x-a", "two,three"))))
        assert part(event, "headers", "x-a") == "one,two,three"

    def test_takes_headers_of_the_connection_away(self) -> None:
        """Connection and Transfer-Encoding are gone; the length is that of the body in the event (FU-EVENT-13)."""
        sent = (("connection", "close"), ("transfer-encoding", "chunked"), ("content-length", "99"))
        headers = members(function_url_event(request(method="POST", headers=sent, body=b"abc")), "headers")
        assert not {"connection", "transfer-encoding"} & headers.keys()
        assert headers["content-length"] == "3"

    @pytest.mark.parametrize(
        ("method", "body", "length"),
        [("GET", b"", "0"), ("DELETE", b"", "0"), ("HEAD", b"", None), ("OPTIONS", b"", None), ("OPTIONS", b"a", "1")],
    )
    def test_recorded_lengths(self, method: str, body: bytes, length: str | None) -> None:
        """content-length is 0 with GET and absent with HEAD and OPTIONS (FU-EVENT-14)."""
        headers = members(function_url_event(request(method=method, body=body)), "headers")
        assert headers.get("content-length") == length

    def test_keeps_forwarded_for_and_host(self) -> None:
        """The client's X-Forwarded-For is kept, its other forwarding headers are not; sourceIp is the peer.

        It shows FU-EVENT-15, FU-EVENT-18, FU-EVENT-24.
        """
        sent = (("x-forwarded-for", "198.51.100.1"), ("x-forwarded-proto", "gopher"), ("host", "other"))
        event = function_url_event(request(headers=sent))
        assert part(event, "headers", "x-forwarded-for") == "198.51.100.1"
        assert part(event, "headers", "x-forwarded-proto") == "https"
        assert part(event, "headers", "host") == "other"
        assert part(event, "requestContext", "http", "sourceIp") == "192.0.2.7"

    def test_gives_a_host_and_no_user_agent(self) -> None:
        """Where the client says nothing, the host is the URL's and the user agent is empty.

        It shows FU-EVENT-18, FU-EVENT-26.
        """
        event = function_url_event(request())
        assert part(event, "headers", "host") == "urlid.lambda-url.us-east-1.on.aws"
        assert part(event, "requestContext", "http", "userAgent") == ""

    def test_is_always_text(self) -> None:
        """Header bytes that are not UTF-8 are replaced, so that the event can be encoded (FU-EVENT-22)."""
        event = function_url_event(request(headers=(("x-a", "\udcff☃"),)))
        assert part(event, "headers", "x-a") == "\ufffd☃"
        json.dumps(event, ensure_ascii=False).encode()

    @pytest.mark.parametrize(
        ("content_type", "body", "in_event", "is_base64"),
        [
            ("text/plain", b"abc", "abc", False),
            ("TEXT/HTML; charset=utf-8", "é".encode(), "é", False),
            ("application/json", b"{}", "{}", False),
            ("application/json;charset=utf-8", b"{}", "{}", False),
            ("application/xml", b"<a/>", "<a/>", False),
            ("application/javascript", b"1", "1", False),
            (None, b"abc", "YWJj", True),
            ("", b"abc", "YWJj", True),
            ("application/octet-stream", b"abc", "YWJj", True),
            ("multipart/form-data; boundary=x", b"abc", "YWJj", True),
            ("idk", b"abc", "YWJj", True),
            ("text/plain", b"\xff", "/w==", True),
        ],
    )
    def test_bodies(self, content_type: str | None, body: bytes, in_event: str, *, is_base64: bool) -> None:
        """Text types travel as text, everything else in base64 (FU-EVENT-32, FU-EVENT-33, FU-EVENT-34)."""
        sent = (("content-type", content_type),) if content_type is not None else ()
        event = function_url_event(request(method="POST", headers=sent, body=body))
        assert event["body"] == in_event
        assert event["isBase64Encoded"] is is_base64

    @pytest.mark.parametrize("content_type", ["text/plain", "application/octet-stream"])
    def test_no_body(self, content_type: str) -> None:
        """An empty body is absent and in no base64 (FU-EVENT-31)."""
        event = function_url_event(request(headers=(("content-type", content_type),)))
        assert "body" not in event
        assert event["isBase64Encoded"] is False

    @given(time_ms=st.integers(0, 4102444800000))
    def test_times(self, time_ms: int) -> None:
        """The time is the CLF time of timeEpoch, in English (FU-EVENT-27)."""
        event = function_url_event(request(time_ms=time_ms))
        shown = part(event, "requestContext", "time")
        assert isinstance(shown, str)
        assert datetime.strptime(shown, "%d/%b/%Y:%H:%M:%S %z") == datetime.fromtimestamp(time_ms // 1000, UTC)

    def test_times_have_two_digits(self) -> None:
        """Also the day (FU-EVENT-4, FU-EVENT-27)."""
        shown = part(function_url_event(request(time_ms=0)), "requestContext", "time")
        assert shown == "01/Jan/1970:00:00:00 +0000"

    @given(query=st.text("ab%=&+1 ", max_size=24).map(lambda text: "a=&" + text))
    def test_reads_queries_as_urllib_does(self, query: str) -> None:
        """Names and values are those of urllib, joined."""
        joined: dict[str, list[str]] = {}
        for name, value in parse_qsl(query, keep_blank_values=True):
            joined.setdefault(name, []).append(value)
        expected = {name: ",".join(values) for name, values in joined.items()}
        assert function_url_event(request("/?" + query))["queryStringParameters"] == expected

    def test_keeps_payloads_to_itself(self) -> None:
        """Headers and body stay out of repr."""
        assert "secret" not in repr(request(headers=(("cookie", "secret"),), body=b"secret"))


class TestStreamedHead:
    """Prelude -> response head."""

    def test_a_recorded_head(self) -> None:
        """Content-Type, one Set-Cookie a cookie in order, then the rest in lower case (FU-HEAD-6, FU-HEAD-8)."""
        prelude = Prelude(
            status_code=206,
            headers=(("X-Owned", "stream"), ("Content-Type", "application/x-owned-stream")),
            cookies=("s=1; Path=/", "t=2; HttpOnly"),
        )
        assert streamed_head(prelude) == (
            206,
            (
                ("content-type", "application/x-owned-stream"),
                ("set-cookie", "s=1; Path=/"),
                ("set-cookie", "t=2; HttpOnly"),
                ("x-owned", "stream"),
            ),
        )

    def test_defaults(self) -> None:
        """Without a content type the body is octets (FU-HEAD-4)."""
        assert streamed_head(Prelude()) == (200, (OCTETS,))

    def test_has_one_content_type(self) -> None:
        """The last of several casings counts (FU-HEAD-5)."""
        assert streamed_head(Prelude(headers=(("Content-Type", "a/b"), ("content-type", "c/d"))))[1] == (
            ("content-type", "c/d"),
        )

    @pytest.mark.parametrize(
        "name", ["Connection", "Content-Length", "Date", "SERVER", "x-amzn-RequestId", "WWW-Authenticate"]
    )
    def test_remaps(self, name: str) -> None:
        """What is the service's to say is renamed (FU-HEAD-9, FU-HEAD-10)."""
        headers = streamed_head(Prelude(headers=((name, "v"),)))[1]
        assert headers == (OCTETS, (f"x-amzn-remapped-{name.lower()}", "v"))

    @pytest.mark.parametrize(
        "name", ["Transfer-Encoding", "Keep-Alive", "trailer", "TE", "Upgrade", "Proxy-Connection"]
    )
    def test_drops(self, name: str) -> None:
        """What belongs to one connection is dropped (FU-HEAD-11)."""
        assert streamed_head(Prelude(headers=((name, "v"),)))[1] == (OCTETS,)

    @pytest.mark.parametrize(
        "name",
        [
            *("Authorization", "Content-MD5", "Expect", "Host"),
            *("Max-Forwards", "Proxy-Authenticate", "User-Agent", "Via"),
        ],
    )
    def test_passes_on(self, name: str) -> None:
        """What API Gateway renames or drops, and nobody knows of function URLs (FU-HEAD-12)."""
        assert streamed_head(Prelude(headers=((name, "v"),)))[1] == (OCTETS, (name.lower(), "v"))

    def test_says_what_works_elsewhere_only(self) -> None:
        """Multi-value headers are an error at a function URL (FU-PRELUDE-32)."""
        with pytest.raises(Malformed, match="API Gateway REST APIs only"):
            streamed_head(Prelude(multi_value_headers=(("x", ("1", "2")),)))


def answer(result: object) -> tuple[int, Headers, bytes]:
    return buffered_response(json.dumps(result).encode())


class TestBufferedResponse:
    """JSON result -> response, as a function URL in BUFFERED mode answers."""

    def test_a_recorded_response(self) -> None:
        """Cookies among the headers come before those of cookies (FU-BODY-20, FU-HEAD-7)."""
        result = {
            "statusCode": 202,
            "headers": {"Content-Type": "application/x-owned", "X-Owned": "yes", "Set-Cookie": "header=c"},
            "cookies": ["a=1; Path=/", "b=2; HttpOnly"],
            "body": "accepted\n",
        }
        assert answer(result) == (
            202,
            (
                ("content-type", "application/x-owned"),
                ("set-cookie", "header=c"),
                ("set-cookie", "a=1; Path=/"),
                ("set-cookie", "b=2; HttpOnly"),
                ("x-owned", "yes"),
            ),
            b"accepted\n",
        )

    @pytest.mark.parametrize(
        ("payload", "body"),
        [
            (b'{"hello":"owned","nested":{"number":7}}', b'{"hello":"owned","nested":{"number":7}}'),
            (b'"hello owned"', b"hello owned"),
            (b"null", b"null"),
            (b"42", b"42"),
            (b"", b""),
            (b'"\\u00e9\\ud800"', "é?".encode()),
            (b' [1, "/"] ', b' [1, "/"] '),
        ],
    )
    def test_other_json(self, payload: bytes, body: bytes) -> None:
        """Without statusCode the result is the body, a string without its quotes.

        It shows FU-BODY-22, FU-BODY-23, FU-BODY-25.
        """
        assert buffered_response(payload) == (200, (JSON,), body)

    @pytest.mark.parametrize("payload", [b'A\0\xff\n{"token":1}', b"\x89PNG", b"{", b"[" * 100_000])
    def test_no_json(self, payload: bytes) -> None:
        """What is no JSON is octets (FU-BODY-24)."""
        assert buffered_response(payload) == (200, (OCTETS,), payload)

    def test_recorded_binary(self) -> None:
        """A body in base64 is decoded (FU-BODY-27)."""
        result = {
            "statusCode": 201,
            "headers": {"Content-Type": "application/octet-stream"},
            "cookies": ["binary=yes"],
            "body": "QQD/Cg==",
            "isBase64Encoded": True,
        }
        assert answer(result) == (201, (OCTETS, ("set-cookie", "binary=yes")), b"A\0\xff\n")

    @pytest.mark.parametrize(
        ("text", "decoded"),
        [
            ("!!!not-base64!!!", base64.b64decode("not+base6w==")),
            ("QUJD", b"ABC"),
            ("QU JD\n", b"ABC"),
            ("QUI", b"AB"),
            ("QUJDR", b"ABC"),
            ("QQ==QUJD", b"A"),
            ("__-_", base64.b64decode("//+/")),
            ("é\ud800", b""),
            ("", b""),
        ],
    )
    def test_lenient_base64(self, text: str, decoded: bytes) -> None:
        """Bad base64 is decoded as far as it goes; the first line was recorded (FU-BODY-28)."""
        assert answer({"statusCode": 200, "body": text, "isBase64Encoded": True}) == (200, (JSON,), decoded)

    @given(data=st.binary(max_size=30))
    def test_base64(self, data: bytes) -> None:
        """Either alphabet comes back."""
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            result = {"statusCode": 200, "body": encode(data).decode(), "isBase64Encoded": True}
            assert answer(result)[2] == data

    @pytest.mark.parametrize(
        ("body", "sent"),
        [({"not": "string"}, b'{"not":"string"}'), (["é"], '["é"]'.encode()), (7, b"7"), (True, b"true"), (None, b"")],
    )
    def test_bodies_that_are_no_string(self, body: object, sent: bytes) -> None:
        """Their JSON text is the body; the first was recorded (FU-BODY-21, FU-BODY-26)."""
        assert answer({"statusCode": 200, "body": body}) == (200, (JSON,), sent)

    def test_no_body(self) -> None:
        """A status alone has an empty body; the flag must be true itself (FU-BODY-27)."""
        assert answer({"statusCode": 204}) == (204, (JSON,), b"")
        assert answer({"statusCode": 200, "body": "QQ==", "isBase64Encoded": "true"})[2] == b"QQ=="

    def test_recorded_odd_headers(self) -> None:
        """A header that is no string is rendered (FU-PRELUDE-28)."""
        assert answer({"statusCode": 200, "headers": {"x-owned": {"bad": True}}, "body": "bad-headers"}) == (
            200,
            (JSON, ("x-owned", "{bad=true}")),
            b"bad-headers",
        )

    def test_takes_digits_for_a_status(self) -> None:
        """A status in a string counts (FU-PRELUDE-22)."""
        assert answer({"statusCode": "418"})[0] == 418

    @pytest.mark.parametrize(
        "result",
        [
            {"statusCode": 700, "body": "invalid-status"},
            {"statusCode": "abc"},
            {"statusCode": 200, "headers": []},
            {"statusCode": 200, "headers": {"x": "a\r\nb: c"}},
        ],
    )
    def test_bad_results(self, result: object) -> None:
        """What makes no response head is 502; the first was recorded (FU-BODY-29)."""
        assert answer(result) == INTERNAL_SERVER_ERROR
        assert INTERNAL_SERVER_ERROR == (502, (JSON,), b"Internal Server Error")

    def test_never_recurses_out(self) -> None:
        """Nesting of any depth is an answer."""
        for depth in range(900, 1010):
            payload = b'{"statusCode":200,"body":' + b"[" * depth + b"]" * depth + b"}"
            assert buffered_response(payload)[0] == 200


@pytest.mark.parametrize("given_type", ["text/plain", "Text/PLAIN", " text/plain ;charset=utf-8", "text/plain;a=b;c=d"])
def test_a_media_type_has_no_parameters_and_no_case(given_type: str) -> None:
    """RFC 9110, 8.3.1 (FU-PRELUDE-2)."""
    assert media_type(given_type) == "text/plain"
    assert media_type("") == ""


REQUESTS = [
    *(
        b"GET",
        b"POST",
        b" /",
        b"a%20",
        b"%e9",
        b"?a=b&",
        b"a=%ff",
        b" HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Cookie: a=1;b\r\n",
    ),
    *(
        b"X: \xe9\r\n",
        b"Content-Type: text/plain\r\n",
        b"Content-Length: 2\r\n",
        b"TE: x\r\n",
        b"\r\n",
        b"{}",
        b"\xff\xff",
    ),
]
RESULTS = st.fixed_dictionaries(
    {"statusCode": st.sampled_from([100, 200, 599, "204", 700, None])},
    optional={
        "headers": st.dictionaries(
            st.sampled_from(["Content-Type", "te", "Set-Cookie", "x", "a b"]), st.text(max_size=3)
        ),
        "cookies": st.lists(st.text(max_size=3), max_size=2),
        "multiValueHeaders": st.just({"x": ["1"]}),
        "body": st.text(max_size=4) | st.lists(st.integers()),
        "isBase64Encoded": st.booleans() | st.none(),
    },
)


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=40))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(parts=st.lists(st.sampled_from(REQUESTS), max_size=12))
    def test_requests(self, parts: list[bytes]) -> None:
        """Parts of requests in any order."""
        one_input(b"".join(parts))

    @given(result=RESULTS)
    def test_results(self, result: object) -> None:
        """What functions return, whole and as a prelude."""
        one_input(json.dumps(result).encode())
        one_input(json.dumps(result).encode() + DELIMITER)


def test_times_are_utc_wherever_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The event says so."""
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    try:
        assert part(function_url_event(request()), "requestContext", "time") == "15/Sep/2026:11:53:38 +0000"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("body", "sent"), [([1, 2], b"[1,2]"), ({"a": "\u00e9", "b": 1}, '{"a":"é","b":1}'.encode())])
def test_a_body_of_json_is_compact(body: object, sent: bytes) -> None:
    """Between its items, too."""
    assert buffered_response(json.dumps({"statusCode": 200, "body": body}).encode())[2] == sent


def test_what_is_no_base64_does_not_count() -> None:
    """Not among the digits either, of which a lone last one is dropped."""
    result = {"statusCode": 200, "body": "aGkxa!", "isBase64Encoded": True}
    assert buffered_response(json.dumps(result).encode())[2] == b"hi1"


def test_the_message_about_multi_value_headers() -> None:
    """It says where they work, and what is answered here."""
    with pytest.raises(Malformed) as caught:
        streamed_head(Prelude(multi_value_headers=(("a", ("b",)),)))
    assert str(caught.value) == ("multiValueHeaders work behind API Gateway REST APIs only: a function URL answers 500")
