"""The endpoints: what is written into a path is read out of it, and every path goes where Go's router sends it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import get_args
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lambda_wire._events import (
    Accepted,
    Answer,
    Ask,
    BufferedResponse,
    Continue,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Refused,
    ResponseChunk,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
)
from lambda_wire._lifecycle import NOT_FOUND
from lambda_wire._malformed import Malformed
from lambda_wire._routes import ROUTES, Match, Route, match, route_of, target_of
from tests.capture import CAPTURES, Capture, Direction, load

RESPONSE = "/2018-06-01/runtime/invocation/{}/response"
#: What Go's net/url leaves as it is in one segment of a path, beside letters, digits and ``-._~``.
GO_PLAIN = "$&+,:;=@"
#: Any bytes but a slash: what a Go router can find in one segment of a path.
IDS = st.binary(min_size=1, max_size=30).map(lambda data: data.replace(b"/", b"|").decode("utf-8", "surrogateescape"))
#: Segments that a client may have written, most of them not as Go would.
SEGMENTS = st.lists(
    st.sampled_from(["a", "Z", "0", "-", "_", ".", "~", "!", "*", "'", "(", "[", *GO_PLAIN])
    | st.sampled_from(["%20", "%2F", "%2f", "%25", "%3F", "%41", "%3a", "%C3%A9", "%c3%a9", "%FF", "%00", "é"]),
    max_size=8,
).map("".join)


def found(segment: str) -> str:
    """Return the id that the service finds in ``segment``."""
    outcome = match("POST", RESPONSE.format(segment))
    assert isinstance(outcome, Match)
    assert outcome.route is route_of(BufferedResponse)
    return outcome.request_id


@given(IDS)
@example("a%20b")
@example("a:b")
@example("a+b;c,d=e@f&g$h")
@example("..")
@example("next")
@example("{request_id}")
@example("\"<>\\^`{|}[] !*()'#?%é")
def test_what_is_written_into_a_path_is_read_out_of_it(request_id: str) -> None:
    """``target_of`` and ``match`` are inverse for every id that a Go router can reach."""
    for ask in (BufferedResponse, ResponseStarted, ErrorReported):
        route = route_of(ask)
        assert match(route.method, target_of(route, request_id)) == Match(route=route, request_id=request_id)


@given(IDS)
def test_an_id_is_written_as_go_writes_it(request_id: str) -> None:
    """Nothing else would reach it: the emulator compares any other encoding as it stands (observed: ``a%3Ab``).

    (RT-PATH-5)
    """
    assert target_of(route_of(BufferedResponse), request_id) == RESPONSE.format(
        quote(request_id, safe=GO_PLAIN, errors="surrogateescape")
    )


def test_every_byte_has_one_way_into_a_path() -> None:
    """The other way round, an encoded letter or a bare exclamation mark, is compared as it stands (RT-PATH-6)."""
    for byte in set(range(256)) - set(b"/"):
        request_id = bytes([byte]).decode("utf-8", "surrogateescape")
        encoded, plain = f"%{byte:02X}", (request_id.isalnum() and byte < 128) or request_id in "-._~" + GO_PLAIN
        assert target_of(route_of(BufferedResponse), request_id) == RESPONSE.format(request_id if plain else encoded)
        assert found(encoded) == (encoded if plain else request_id)
        if request_id not in "%?":
            assert found(request_id) == request_id
            assert found(f"{request_id}%20") == (f"{request_id} " if plain else f"{request_id}%20")


def test_an_id_that_is_no_text_is_malformed() -> None:
    """A surrogate that stands for no byte has no way onto the wire; only documented faults leave a mouth."""
    with pytest.raises(Malformed, match="request target"):
        target_of(route_of(BufferedResponse), "\ud800")


@pytest.mark.parametrize("ask", [NextAsked, InitErrorReported, RestoreAsked, RestoreErrorReported, PingAsked])
def test_a_path_without_an_id_is_itself(ask: type) -> None:
    """Both ways, and an id is not put where there is none."""
    route = route_of(ask)
    assert target_of(route) == target_of(route, "x") == route.path
    assert match(route.method, route.path) == Match(route=route)


@given(SEGMENTS)
@example("%2e%2e")
def test_a_path_is_decoded_where_go_would_have_written_it_so(segment: str) -> None:
    """There it is what ``urllib.parse.unquote`` makes of it; elsewhere it is compared as it stands (RT-PATH-6)."""
    decoded = unquote(segment, errors="surrogateescape")
    canonical = quote(decoded, safe="/" + GO_PLAIN, errors="surrogateescape") == segment
    assert found(segment) == (decoded if canonical else segment)


def test_an_id_with_a_slash_is_out_of_reach() -> None:
    """Encoded it is another id, and as it is another path: so it is with the emulator (RT-PATH-5)."""
    assert found("a%2Fb") == "a%2Fb"
    assert match("POST", RESPONSE.format("a/b")) == NOT_FOUND


def test_the_endpoints_are_those_of_the_specification() -> None:
    """Method and path of each, in its order (RT-PATH-1)."""
    page = (Path(__file__).parent.parent / "spec" / "runtime-api.md").read_text(encoding="utf-8")
    rule = page.partition("### RT-PATH-1\n")[2].partition("\n### ")[0]
    rows = [line.split(" | ")[:2] for line in rule.splitlines() if line.startswith(("| GET ", "| POST "))]
    listed = [(method.strip("| "), "/2018-06-01" + path.strip("`")) for method, path in rows]
    assert [(route.method, route.path.replace("{request_id}", "{id}")) for route in ROUTES] == listed


@pytest.mark.parametrize("ask", get_args(Ask))
def test_every_request_has_one_endpoint(ask: type) -> None:
    """The parts of a streamed body have none: they travel inside a request."""
    rows = [route for route in ROUTES if ask in route.asks]
    assert len(rows) == (0 if ask in (ResponseChunk, ResponseFinished, ResponseFailed) else 1)
    if rows:
        assert route_of(ask) is rows[0]


def test_every_answer_belongs_to_an_endpoint() -> None:
    """``Continue`` belongs to none: it is no final answer. Any endpoint may refuse."""
    assert {answer for route in ROUTES for answer in route.answers} == set(get_args(Answer)) - {Continue}
    assert all(Refused in route.answers for route in ROUTES)
    assert all((Accepted in route.answers) is (route.method == "POST") for route in ROUTES)
    assert route_of(NextAsked).answers == (Invocation, Refused)


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: str(route.path))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"])
def test_another_method_is_405_and_names_the_right_one(route: Route, method: str) -> None:
    """HEAD too (a40; RT-PATH-3)."""
    expected = Match(route=route) if method == route.method else Refused(status=405, allow=route.method)
    assert match(method, target_of(route)) == expected


@pytest.mark.parametrize("method", ["FOO", "get", "Get", "QUERY", "PRI", "\x00"])
@pytest.mark.parametrize("target", ["/2018-06-01/ping", "/nowhere", "*"])
def test_a_method_that_nobody_knows_is_405_whatever_the_path(method: str, target: str) -> None:
    """And nothing is allowed instead: the emulator's router does not look at the path (RT-PATH-3)."""
    assert match(method, target) == Refused(status=405)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/2018-06-01/ping?", "/2018-06-01/ping"),
        ("/2018-06-01/ping?a=b?c/d%zz", "/2018-06-01/ping"),
        ("http://127.0.0.1:9001/2018-06-01/ping", "/2018-06-01/ping"),
        ("HTTPS://user@[::1]:9001/2018-06-01/ping?x=://y", "/2018-06-01/ping"),
        ("a+b-c.1:/2018-06-01/ping", "/2018-06-01/ping"),
        ("/2018-06-01/ping#x", None),
        ("/2018-06-01/%70ing", None),
        ("/2018-06-01/pingé", None),
        ("//2018-06-01/ping", None),
        ("//h/2018-06-01/ping", None),
        ("http://h", None),
        ("http://h/", None),
        ("http://h?x=/2018-06-01/ping", None),
        ("http://2018-06-01/ping", None),
        ("http:", None),
        ("http:2018-06-01/ping", None),
        ("h:1", None),
        ("*", None),
        ("/", None),
    ],
)
def test_a_target_in_any_form_is_its_path(target: str, path: str | None) -> None:
    """Query, scheme and authority do not count, and are not decoded. Each row was seen with the emulator or net/url.

    (RT-PATH-2, RT-PATH-4)
    """
    assert match("GET", target) == (NOT_FOUND if path is None else Match(route=route_of(PingAsked)))


@pytest.mark.parametrize(
    "target",
    [
        "",
        "foo",
        "2018-06-01/ping",
        "?x=/2018-06-01/ping",
        ":",
        "://x/y",
        "1:/x",
        "a_b:/x",
        "\udcc3:/x",
        "é:/x",
        "a/b://c/d",
    ],
)
def test_a_target_that_is_no_path_and_no_url_is_malformed(target: str) -> None:
    """Go's server answers 400 and closes (observed)."""
    with pytest.raises(Malformed, match="starts with '/' or is a URL"):
        match("GET", target)


@pytest.mark.parametrize(
    "path", ["/%", "/%4", "/%zz", "/a%2", "/%%20", "/%+1", "/% 1", "/%1\udcff", "http://h/%", "/%1é"]
)
@pytest.mark.parametrize("method", ["GET", "FOO"])
def test_a_broken_percent_encoding_is_malformed(path: str, method: str) -> None:
    """Whatever the method: Go's server reads the URL first, answers 400 and closes (observed)."""
    with pytest.raises(Malformed, match="two hexadecimal digits"):
        match(method, path)


# -- the recordings


def recorded(name: str) -> list[tuple[str, str, int, bytes]]:
    """Return method, target, status and the ``Allow`` line of every exchange of one runtime that has a request line."""
    (path,) = CAPTURES.glob(f"{name}_*.txt")
    capture: Capture = load(path)
    rows: list[tuple[str, str, int, bytes]] = []
    for connection, steps in capture.connections.items():
        if not connection.startswith("runtime"):
            continue
        said = [step for step in steps if step.direction in (Direction.SENT, Direction.RECEIVED)]
        for asked, answered in pairwise(said):
            line = asked.data.split(b"\r\n")[0].split(b" ")
            if asked.direction is Direction.SENT and answered.direction is Direction.RECEIVED and len(line) == 3:
                allow = next((each for each in answered.data.split(b"\r\n") if each.startswith(b"Allow: ")), b"")
                rows.append((line[0].decode(), line[1].decode(), int(answered.data[9:12]), allow))
    return rows


@pytest.mark.parametrize("name", ["a30", "a31", "a32", "a40", "a61", "a62", "a63", "a64"])
def test_every_recorded_request_is_routed_as_the_emulator_routed_it(name: str) -> None:
    """404 and 405 exactly where it said so, with its ``Allow``; everything else found an endpoint.

    (RT-PATH-2, RT-PATH-3)
    """
    rows = recorded(name)
    assert rows
    for method, target, status, allow in rows:
        outcome = match(method, target)
        if "/restore/" in target:  # 404 there, because that emulator had no SnapStart: the lifecycle's word
            assert isinstance(outcome, Match)
        elif "/credentials" in target or status in (404, 405):
            assert isinstance(outcome, Refused)
            assert (outcome.status, outcome.allow) == (status, allow.removeprefix(b"Allow: ").decode())
        else:  # some heads were refused for another reason, before their path was looked at
            assert isinstance(outcome, Match)


def test_the_ids_of_the_recordings_are_found_in_their_paths() -> None:
    """a30: ``%2e%2e`` is not ``..``. a64: the id ``a%20b`` is found in ``a%2520b``, and ``a%20b`` is ``a b``."""
    assert found("%2e%2e") == "%2e%2e"
    assert found("a%20b") == "a b"
    accepted = [target for _, target, status, _ in recorded("a64") if status == 202]
    assert accepted == [target_of(route_of(BufferedResponse), "a%20b")] == [RESPONSE.format("a%2520b")]
    assert found("") == ""


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("/%X1", "expected two hexadecimal digits after '%' in a request target, got b'X1'"),
        ("ru/n", "expected a request target that starts with '/' or is a URL, got 'ru/n'"),
    ],
)
def test_messages(target: str, message: str) -> None:
    """Expected, got."""
    with pytest.raises(Malformed) as caught:
        match("GET", target)
    assert str(caught.value) == message


def test_a_slash_stands_on_one_side_of_an_id_only() -> None:
    """What comes before an id and what comes behind it do not overlap."""
    assert match("POST", RESPONSE.replace("{}/", "")) == NOT_FOUND


def test_a_url_without_a_host_has_a_path() -> None:
    """As Go's ``url.ParseRequestURI`` has it."""
    assert isinstance(match("GET", "http:///2018-06-01/runtime/invocation/next"), Match)
