"""The prelude codec: refuses what cannot travel or must not be sent, reads as tolerantly as the service."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.fuzz_prelude import one_input
from lambda_wire._json import parse_json
from lambda_wire._limits import MAX_PRELUDE
from lambda_wire._malformed import Malformed
from lambda_wire._prelude import (
    DELIMITER,
    Prelude,
    PreludeDecoder,
    encode_prelude,
    prelude_from_json,
    require_sendable,
    require_text_value,
)
from lambda_wire._signals import NEED_DATA
from lambda_wire.testing import deliveries

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz", min_size=1, max_size=12)
VALUES = st.text('aZ0 \t;=,"\\/\x80é☃𝄞', max_size=20).map(lambda text: text.strip(" \t"))
UNSENDABLE = {"te", "set-cookie"}


def once(pairs: Sequence[tuple[str, object]]) -> bool:
    names = [name.lower() for name, _ in pairs]
    return len(set(names)) == len(names) and not UNSENDABLE & set(names)


PRELUDES = st.builds(
    Prelude,
    status_code=st.integers(100, 599),
    headers=st.lists(st.tuples(TOKENS, VALUES), max_size=4).filter(once).map(tuple),
    cookies=st.lists(VALUES, max_size=3).map(tuple),
    multi_value_headers=st.lists(st.tuples(TOKENS, st.lists(VALUES, max_size=3).map(tuple)), max_size=3)
    .filter(once)
    .map(tuple),
)


def decoded(pieces: list[bytes]) -> tuple[Prelude, bytes]:
    decoder = PreludeDecoder()
    body = b""
    for piece in pieces:
        decoder.feed(piece)
        decoder.next_prelude()
        body += decoder.rest()
    decoder.end()
    prelude = decoder.next_prelude()
    assert isinstance(prelude, Prelude)
    return prelude, body


def read(metadata: object) -> Prelude:
    return decoded([json.dumps(metadata).encode() + DELIMITER])[0]


class TestPrelude:
    """What can never travel in a response head cannot be said."""

    @pytest.mark.parametrize("status", [99, 600, -200, 700, True, "200", 200.0, None, [200]])
    def test_refuses_what_is_no_status(self, status: object) -> None:
        """A status is an integer from 100 to 599; True is none (FU-PRELUDE-20)."""
        with pytest.raises(Malformed, match="statusCode must be an integer from 100 to 599"):
            Prelude(status_code=status)  # type: ignore[arg-type]  # the check under test

    @pytest.mark.parametrize("status", [100, 200, 599])
    def test_takes_every_status(self, status: int) -> None:
        """Both ends of the range belong to it (FU-PRELUDE-20)."""
        assert Prelude(status_code=status).status_code == status

    @pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\nb", "é", "a\0", 7, ("a",)])
    def test_refuses_what_is_no_token(self, name: str) -> None:
        """A header name is a token (RFC 9110, 5.6.2), in both kinds of headers (FU-PRELUDE-26)."""
        with pytest.raises(Malformed, match="a header name must be an HTTP token"):
            Prelude(headers=((name, "v"),))
        with pytest.raises(Malformed, match="a header name must be an HTTP token"):
            Prelude(multi_value_headers=((name, ("v",)),))

    @pytest.mark.parametrize("value", ["a\rb", "a\nb", "a\0b", "\x01", "a\x7f", " a", "a\t", "\ud800", 7, None, b"a"])
    def test_refuses_what_is_no_field_value(self, value: str) -> None:
        """A value is field content (RFC 9110, 5.5), in headers of both kinds and in cookies.

        It shows FU-PRELUDE-7, FU-PRELUDE-26.
        """
        with pytest.raises(Malformed, match="header 'x-a' must"):
            Prelude(headers=(("x-a", value),))
        with pytest.raises(Malformed, match="header 'x-a' must"):
            Prelude(multi_value_headers=(("x-a", ("fine", value)),))
        with pytest.raises(Malformed, match="a cookie must"):
            Prelude(cookies=(value,))

    @pytest.mark.parametrize("value", ["", "a\tb c", "snow ☃", "\x80é", "𝄞"])
    def test_takes_field_values(self, value: str) -> None:
        """Blanks inside and characters beyond ASCII can travel."""
        require_text_value(value, "it")

    def test_keeps_cookies_to_itself(self) -> None:
        """Secrets stay out of repr."""
        assert "secret" not in repr(Prelude(cookies=("session=secret",)))


class TestEncoding:
    """What a service would remap, drop or refuse is not sent."""

    def test_writes_the_narrowest_shape(self) -> None:
        """statusCode, headers, cookies, always and in this order, compact, then exactly eight NULs.

        It shows FU-PRELUDE-3, FU-PRELUDE-8, FU-PRELUDE-17.
        """
        assert encode_prelude(Prelude()) == b'{"statusCode":200,"headers":{},"cookies":[]}' + b"\0" * 8

    def test_writes_everything(self) -> None:
        """Names as given, order kept, ASCII whatever is said; multiValueHeaders only when there are any.

        It shows FU-PRELUDE-8, FU-PRELUDE-15, FU-PRELUDE-24, FU-PRELUDE-30.
        """
        prelude = Prelude(
            status_code=404,
            headers=(("X-B", "☃"), ("x-a", "1")),
            cookies=("a=1; Path=/",),
            multi_value_headers=(("x-c", ("1", "2")),),
        )
        assert encode_prelude(prelude) == (
            b'{"statusCode":404,"headers":{"X-B":"\\u2603","x-a":"1"},"cookies":["a=1; Path=/"],'
            b'"multiValueHeaders":{"x-c":["1","2"]}}' + DELIMITER
        )

    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("Connection", "belongs to the connection"),
            ("keep-alive", "belongs to the connection"),
            ("Transfer-Encoding", "belongs to the connection"),
            ("TRAILER", "belongs to the connection"),
            ("upgrade", "belongs to the connection"),
            ("TE", "belongs to the connection"),
            ("Proxy-Connection", "belongs to the connection"),
            ("Proxy-Authenticate", "belongs to the connection"),
            ("Proxy-Authorization", "belongs to the connection"),
            ("Content-Length", "belongs to the connection"),
            ("Set-Cookie", "give each cookie as an entry of cookies"),
        ],
    )
    def test_refuses_what_is_not_the_handlers(self, name: str, reason: str) -> None:
        """Fields of the connection and Set-Cookie are refused, in any casing and in both kinds of headers.

        It shows FU-PRELUDE-31, FU-PRELUDE-34.
        """
        with pytest.raises(Malformed, match=f"^headers must not have {name}: .*{reason}"):
            encode_prelude(Prelude(headers=((name, "v"),)))
        with pytest.raises(Malformed, match=f"multi_value_headers must not have {name}: .*{reason}"):
            encode_prelude(Prelude(multi_value_headers=((name, ("v",)),)))

    def test_refuses_a_name_twice(self) -> None:
        """An object has a name once, and HTTP knows no casing; the two kinds of headers may share one.

        It shows FU-PRELUDE-25.
        """
        with pytest.raises(Malformed, match="headers must have 'x-A' once"):
            require_sendable(Prelude(headers=(("X-a", "1"), ("x-A", "2"))))
        require_sendable(Prelude(headers=(("x-a", "1"),), multi_value_headers=(("x-a", ("1", "2")),)))

    def test_holds_the_limit(self) -> None:
        """The JSON with its delimiter fits 16 KiB, which the caller may change (FU-PRELUDE-12)."""
        empty = len(encode_prelude(Prelude(headers=(("x", ""),))))
        fits = Prelude(headers=(("x", "v" * (MAX_PRELUDE - empty)),))
        assert len(encode_prelude(fits)) == MAX_PRELUDE
        over = Prelude(headers=(("x", "v" * (MAX_PRELUDE - empty + 1)),))
        with pytest.raises(Malformed, match="a prelude must fit 16384 bytes with its delimiter, got 16385"):
            encode_prelude(over)
        assert len(encode_prelude(over, max_bytes=MAX_PRELUDE + 1)) == MAX_PRELUDE + 1


class TestInverse:
    """decode(encode(x)) == x, and encode(decode(b)) == b for canonical b, however b is delivered."""

    @given(prelude=PRELUDES, body=st.binary(max_size=40))
    def test_decoding_inverts_encoding(self, prelude: Prelude, body: bytes) -> None:
        """Every sendable prelude comes back equal, its body with it, in every delivery (FU-PRELUDE-6)."""
        wire = encode_prelude(prelude)
        for pieces in deliveries(wire + body):
            assert decoded(pieces) == (prelude, body)
        assert encode_prelude(decoded([wire])[0]) == wire


class TestDecoder:
    """Incremental, bounded, and the same verdict for the same bytes."""

    @pytest.mark.parametrize("body", [b"", b"body", b"\0", b"\0" * 9, b"a" + b"\0" * 8 + b"b", b"{}" + b"\0" * 8])
    def test_gives_the_body_after_the_first_delimiter(self, body: bytes) -> None:
        """The first run of eight NULs ends the metadata; NULs after it are body.

        It shows FU-PRELUDE-4, FU-PRELUDE-5, FU-PRELUDE-6.
        """
        for pieces in deliveries(b'{"statusCode":201}' + DELIMITER + body):
            assert decoded(pieces) == (Prelude(status_code=201), body)

    def test_keeps_the_body_until_the_prelude_is_known(self) -> None:
        """Its rest() gives nothing before next_prelude() has given the prelude."""
        decoder = PreludeDecoder()
        assert decoder.next_prelude() is NEED_DATA
        decoder.feed(bytearray(b"{}" + DELIMITER + b"body"))
        assert decoder.rest() == b""
        assert decoder.next_prelude() == Prelude()
        assert decoder.rest() == b"body"
        assert decoder.rest() == b""
        decoder.feed(memoryview(b"more"))
        assert decoder.next_prelude() == Prelude()
        assert decoder.rest() == b"more"

    @pytest.mark.parametrize("data", [b"", b"{}", b"{}" + b"\0" * 7, b"hello"])
    def test_refuses_an_early_end(self, data: bytes) -> None:
        """A stream that ends before its delimiter is malformed, at its end."""
        for pieces in deliveries(data):
            with pytest.raises(Malformed, match="ended before the 8 NUL bytes") as caught:
                decoded(pieces)
            assert caught.value.at == len(data)

    def test_is_bounded(self) -> None:
        """The delimiter must end within the limit, however the bytes come (FU-PRELUDE-13)."""
        for pieces in deliveries(b"{}" + b" " * (MAX_PRELUDE - 10) + DELIMITER + b"x"):
            assert decoded(pieces) == (Prelude(), b"x")
        for pieces in deliveries(b"{}" + b" " * (MAX_PRELUDE - 9) + DELIMITER + b"x"):
            with pytest.raises(Malformed, match="within 16384 bytes"):
                decoded(pieces)

    def test_takes_another_limit(self) -> None:
        """The caller may change the limit."""
        decoder = PreludeDecoder(max_bytes=10)
        decoder.feed(b"{ }" + DELIMITER)
        with pytest.raises(Malformed, match="within 10 bytes"):
            decoder.next_prelude()

    @pytest.mark.parametrize(
        "metadata",
        [
            b"",
            b"body first",
            b"{",
            b"\xff{}",
            b"\xef\xbb\xbf{}",
            b"[" * 16000,
            b'{"statusCode":' + b"1" * 5000 + b"}",
            '{"statusCode":200}'.encode("utf-16"),
        ],
        ids=["empty", "text", "cut", "not UTF-8", "BOM", "deep", "huge number", "UTF-16"],
    )
    def test_refuses_what_is_no_json(self, metadata: bytes) -> None:
        """No exception but Malformed leaves the decoder, and it is raised for ever (FU-PRELUDE-9)."""
        for pieces in deliveries(metadata + DELIMITER + b'{"statusCode":200}' + DELIMITER):
            decoder = PreludeDecoder()
            for piece in pieces:
                decoder.feed(piece)
            for _ in range(3):
                with pytest.raises(Malformed, match="expected JSON in UTF-8"):
                    decoder.next_prelude()
            with pytest.raises(Malformed, match="expected JSON in UTF-8"):
                decoder.end()
            assert decoder.rest() == b""


class TestTolerance:
    """Metadata is read as function URLs read it."""

    @pytest.mark.parametrize(
        "metadata", [{}, {"status": 404, "body": "x"}, dict.fromkeys(["statusCode", "headers", "cookies"])]
    )
    def test_gives_defaults(self, metadata: object) -> None:
        """Missing and null keys have defaults; unknown keys are ignored.

        It shows FU-PRELUDE-16, FU-PRELUDE-18, FU-PRELUDE-19.
        """
        assert read(metadata) == Prelude()

    def test_takes_whitespace(self) -> None:
        """JSON may be spaced and escaped as it likes (FU-PRELUDE-9)."""
        wire = b'\r\n\t {"status\\u0043ode" : 204 }\n' + DELIMITER
        assert decoded([wire]) == (Prelude(status_code=204), b"")

    def test_takes_digits_for_a_status(self) -> None:
        """A status may be three digits in a string (FU-PRELUDE-22)."""
        assert read({"statusCode": "418"}).status_code == 418

    @pytest.mark.parametrize("status", [99, 600, "099", "0200", "20", "two", "٢٠٠", "²00", 200.0, True, [], {}, 1e400])
    def test_refuses_other_statuses(self, status: object) -> None:
        """What is no status is malformed (FU-PRELUDE-23)."""
        with pytest.raises(Malformed, match="statusCode must be an integer from 100 to 599"):
            read({"statusCode": status})

    @pytest.mark.parametrize(
        ("value", "rendered"),
        [
            ("text", "text"),
            (" outer blanks\t", "outer blanks"),
            (7, "7"),
            (1.5, "1.5"),
            (1e2, "100.0"),
            (float("nan"), "NaN"),  # FU-PRELUDE-10
            (True, "true"),
            ([], ""),
            (["a", 1, None, False], "a,1,false"),
            ({"bad": True}, "{bad=true}"),
            ({"a": None, "b": "c"}, "{a=null, b=c}"),
        ],
    )
    def test_renders_header_values(self, value: object, rendered: str) -> None:
        """Values that are no strings are rendered; arrays are joined (FU-PRELUDE-28, FU-PRELUDE-29)."""
        assert read({"headers": {"x-a": value}}).headers == (("x-a", rendered),)

    def test_takes_the_last_of_a_name(self) -> None:
        """A member may stand twice (FU-PRELUDE-36)."""
        wire = b'{"statusCode":201,"headers":{"x":"1","x":"2"},"statusCode":202}' + DELIMITER
        assert decoded([wire])[0] == Prelude(status_code=202, headers=(("x", "2"),))

    def test_skips_null_headers(self) -> None:
        """A null is no header; order and casing of the others are kept (FU-PRELUDE-19)."""
        assert read({"headers": {"X-B": "1", "x-n": None, "x-A": "2"}}).headers == (("X-B", "1"), ("x-A", "2"))

    @pytest.mark.parametrize("value", [[["a"]], [{}], {"a": []}, {"a": {}}])
    def test_refuses_nested_values(self, value: object) -> None:
        """Rendering has one level."""
        with pytest.raises(Malformed, match=r"must not be nested, got (list|dict) in it"):
            read({"headers": {"x-a": value}})

    def test_lets_pass_what_is_not_sent(self) -> None:
        """Hop-by-hop fields, Set-Cookie and names in two casings are the reader's to map."""
        headers = {"Connection": "close", "content-length": "3", "Set-Cookie": "a=1", "x": "1", "X": "2"}
        assert read({"headers": headers}).headers == tuple(headers.items())

    def test_reads_cookies(self) -> None:
        """Cookies keep their order; nulls are none (FU-PRELUDE-19)."""
        assert read({"cookies": ["b=2", None, " a=1", 7]}).cookies == ("b=2", "a=1", "7")

    def test_reads_multi_value_headers(self) -> None:
        """A single value counts as one of several."""
        values = {"a": ["1", 2, None], "b": "one", "c": None, "d": []}
        assert read({"multiValueHeaders": values}).multi_value_headers == (
            ("a", ("1", "2")),
            ("b", ("one",)),
            ("d", ()),
        )

    @pytest.mark.parametrize("metadata", [[], "x", 7, None, True])
    def test_refuses_what_is_no_object(self, metadata: object) -> None:
        """Metadata is an object."""
        with pytest.raises(Malformed, match="a prelude must be a JSON object"):
            read(metadata)

    @pytest.mark.parametrize("key", ["headers", "multiValueHeaders"])
    @pytest.mark.parametrize("value", [[], "x", 7])
    def test_refuses_headers_that_are_no_object(self, key: str, value: object) -> None:
        """Headers of both kinds are objects."""
        with pytest.raises(Malformed, match=f"{key} must be an object"):
            read({key: value})

    @pytest.mark.parametrize("value", [{}, "a=1", 7])
    def test_refuses_cookies_that_are_no_array(self, value: object) -> None:
        """Cookies are an array."""
        with pytest.raises(Malformed, match="cookies must be an array"):
            read({"cookies": value})

    @pytest.mark.parametrize("headers", [{"a b": "1"}, {"": "1"}, {"a": "1\r\nb: 2"}, {"a": "\ud800"}, {"a": ["\0"]}])
    def test_refuses_what_cannot_travel(self, headers: object) -> None:
        """Nothing decoded can break the response head."""
        with pytest.raises(Malformed):
            read({"headers": headers})

    def test_never_recurses_out(self) -> None:
        """Nesting of any depth is an answer or Malformed, wherever it stands."""
        for depth in range(900, 1010):
            with pytest.raises(Malformed):
                prelude_from_json(parse_json(b'{"statusCode":' + b"[" * depth + b"]" * depth + b"}"))

    def test_the_place_of_a_fault_is_looked_for_at_any_depth(self) -> None:
        """Nesting that was read once, and not again in a deeper call, hides where the fault is, and not that it is."""
        for depth in (*range(900, 1010), *range(1400, 1510), *range(2900, 3010)):
            decoder = PreludeDecoder()
            decoder.feed(b'{"x":' + b"[" * depth + b"]" * depth + b',"headers":5}' + DELIMITER)
            with pytest.raises(Malformed):
                decoder.next_prelude()


TEXTS = st.text("aZ2-: \t\r\n\0\x7fé☃\ud800", max_size=6)
JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["statusCode", "headers", "cookies", "multiValueHeaders", "other"])


class TestFuzz:
    """The fuzz target holds for arbitrary bytes and for bytes that are nearly right."""

    @given(data=st.binary(max_size=60))
    @example(data=b"\0" * 8)
    @example(data=b"{}" + b"\0" * 16)
    @example(data=b"x" * (MAX_PRELUDE + 1))
    def test_bytes(self, data: bytes) -> None:
        """Any bytes."""
        one_input(data)

    @given(metadata=st.dictionaries(KEYS, JSONS, max_size=4), body=st.binary(max_size=12))
    @example(metadata={"headers": {"te": "x"}}, body=b"")
    def test_metadata(self, metadata: object, body: bytes) -> None:
        """Any values under the keys that mean something."""
        one_input(json.dumps(metadata).encode() + DELIMITER + body)

    @given(prelude=PRELUDES, body=st.binary(max_size=12))
    def test_preludes(self, prelude: Prelude, body: bytes) -> None:
        """Everything that we send."""
        one_input(encode_prelude(prelude) + body)


def test_a_prelude_is_text_throughout() -> None:
    """A byte that is no UTF-8 can stand in a header, and in no JSON."""
    with pytest.raises(Malformed, match="encodable as UTF-8"):
        Prelude(headers=(("x-a", "b\udc80"),))


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ([1], "a prelude must be a JSON object, got list"),
        (None, "a prelude must be a JSON object, got None"),
        ({"statusCode": 99}, "statusCode must be an integer from 100 to 599, got 99"),
        ({"statusCode": "x" * 80}, f"statusCode must be an integer from 100 to 599, got '{'x' * 63}..."),
        ({"statusCode": {"a": 1}}, "statusCode must be an integer from 100 to 599, got dict"),
        ({"headers": 7}, "headers must be an object, got 7"),
        ({"headers": {"a b": "v"}}, "a header name must be an HTTP token, got 'a b'"),
        ({"headers": {"a": "\udc80"}}, "header 'a' must be encodable as UTF-8, got '\\udc80'"),
        ({"headers": {"a": [[]]}}, "a header value must not be nested, got list in it"),
        ({"cookies": "a=1"}, "cookies must be an array, got 'a=1'"),
    ],
)
def test_a_message_says_what_came(metadata: object, message: str) -> None:
    """Expected, got: a plain value is quoted, at most 64 characters of it; of a container its type is said."""
    with pytest.raises(Malformed) as caught:
        read(metadata)
    assert caught.value.reason == message


def test_an_early_end_says_where() -> None:
    """What was missing, and how many bytes there were."""
    with pytest.raises(Malformed) as caught:
        decoded([b"{}"])
    assert str(caught.value) == "the stream ended before the 8 NUL bytes that end its prelude (at byte 2)"


def test_only_blanks_at_the_ends_are_taken_away() -> None:
    """A line end there would be another field; letters there are the value."""
    assert read({"headers": {"x-a": "\t X "}}).headers == (("x-a", "X"),)
    with pytest.raises(Malformed, match="header 'x-a' must"):
        read({"headers": {"x-a": "1\n"}})


@pytest.mark.parametrize(
    ("document", "at"),
    [
        (b'{"statusCode":200,]', 18),
        ('{"é":1, "statusCode" : 700, "headers":[]}'.encode(), 9),
        (b'{"statusCode":200,"headers":{"a b":"c"}}', 18),
        (b'{"cookies":[],"statusCode":200,"statusCode":700}', 31),
        (b"[]", None),
    ],
)
def test_a_fault_says_which_member_is_wrong(document: bytes, at: int | None) -> None:
    """The first that would be wrong alone, too (FU-PRELUDE-3); where no member is, all of it is."""
    for pieces in deliveries(document + DELIMITER, seed=7):
        decoder = PreludeDecoder()
        for piece in pieces[:-1]:
            decoder.feed(piece)
            decoder.next_prelude()
        decoder.feed(pieces[-1])
        for _ in range(2):
            with pytest.raises(Malformed) as caught:
                decoder.next_prelude()
            assert caught.value.at == at
