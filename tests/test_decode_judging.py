"""``lambda-wire decode`` names one rule, where it is broken, and what was expected: of requests, answers, refusals."""

from __future__ import annotations

from typing import Final

import pytest

from lambda_wire import _limits as limits
from lambda_wire._events import Refused
from lambda_wire._invoke_asks import too_large as event_too_large
from lambda_wire._lifecycle import too_large
from lambda_wire._state import State
from lambda_wire.decode.pieces import Layer, Verdict
from lambda_wire.decode.refusals import broken_by
from tests.test_decode import explained, first, meanings, named

ID: Final = b"/2018-06-01/runtime/invocation/a"
MODE: Final = b"Lambda-Runtime-Function-Response-Mode: streaming"
CHUNKED: Final = b"Transfer-Encoding: chunked"
TYPE: Final = b"Lambda-Runtime-Function-Error-Type: "
BODY: Final = b"Lambda-Runtime-Function-Error-Body: "
DECLARED: Final = b"Trailer: Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
DEADLINE: Final = b"Lambda-Runtime-Deadline-Ms: 1"
ARN: Final = b"Lambda-Runtime-Invoked-Function-Arn: f"
OK: Final = b'{"status":"OK"}\n'


def request(target: bytes, *fields: bytes, body: bytes | None = None, method: bytes = b"POST") -> bytes:
    counted = [] if body is None else [b"Content-Length: %d" % len(body)]
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: x", *fields, *counted, b"", body or b""])


def answer(status: int, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([b"HTTP/1.1 %d X" % status, *fields, b"Content-Length: %d" % len(body), b"", body])


def refusal(status: int, error_type: str, message: str = "m") -> bytes:
    return answer(status, body=f'{{"errorMessage":"{message}","errorType":"{error_type}"}}\n'.encode())


def forbidden(state: State, target: State) -> bytes:
    change = f"State transition from {state.value} to {target.value} failed for runtime. Error: no"
    return refusal(403, "InvalidStateTransition", change)


def ended(*trailers: bytes, declared: bytes = DECLARED) -> bytes:
    return request(ID + b"/response", MODE, CHUNKED, declared) + b"\r\n".join([b"0", *trailers, b"", b""])


NEXT: Final = request(b"/2018-06-01/runtime/invocation/next", method=b"GET")
RESTORE: Final = request(b"/2018-06-01/runtime/restore/next", method=b"GET")
PING: Final = request(b"/2018-06-01/ping", method=b"GET")
RESPONSE: Final = request(ID + b"/response", body=b"{}")
ERROR: Final = request(ID + b"/error", body=b"{}")
INIT_ERROR: Final = request(b"/2018-06-01/runtime/init/error", body=b"{}")
RESTORE_ERROR: Final = request(b"/2018-06-01/runtime/restore/error", body=b"{}")
STREAM: Final = request(ID + b"/response", MODE, CHUNKED)
INVOKE: Final = b"/2015-03-31/functions/f/invocations"
STREAMING_INVOKE: Final = b"/2021-11-15/functions/f/response-streaming-invocations"
INVOCATION: Final = (b"Lambda-Runtime-Aws-Request-Id: a", DEADLINE, ARN)
GONE: Final = answer(404, b"X-Content-Type-Options: nosniff", body=b"404 page not found\n")

#: The rule, what is captured, and what begins where it is broken, for the last time in the capture.
BROKEN: Final[list[tuple[str, bytes, bytes]]] = [
    # what a service may not answer
    ("RT-NEXT-6", NEXT + answer(200, INVOCATION[0], b"Lambda-Runtime-Deadline-Ms: soon", ARN), b"Lambda-Runtime-Dead"),
    ("RT-NEXT-6", NEXT + answer(200, INVOCATION[0], ARN), b"HTTP/1.1 200"),
    ("RT-NEXT-7", NEXT + answer(200, *INVOCATION[:2]), b"HTTP/1.1 200"),
    ("RT-NEXT-7", NEXT + answer(200, *INVOCATION[:2], b"Lambda-Runtime-Invoked-Function-Arn:"), b"Lambda-Runtime-Inv"),
    ("RT-NEXT-5", NEXT + answer(200, DEADLINE, ARN, b"Lambda-Runtime-Aws-Request-Id:"), b"Lambda-Runtime-Aws"),
    ("RT-NEXT-4", NEXT + answer(204, *INVOCATION), b"HTTP/1.1 204"),
    ("RT-RESP-10", RESPONSE + answer(200, body=OK), b"HTTP/1.1 200"),
    ("RT-RESP-10", RESPONSE + answer(202, body=b"no"), b"no"),
    ("RT-ERR-2", ERROR + answer(202), b""),
    ("RT-INIT-3", INIT_ERROR + answer(204, body=OK), b"HTTP/1.1 204"),
    ("RT-RESTORE-8", RESTORE_ERROR + answer(200, body=OK), b"HTTP/1.1 200"),
    ("RT-RESTORE-3", RESTORE + answer(200, body=b"{}"), b"{}"),
    ("RT-RESTORE-3", RESTORE + answer(200, *INVOCATION), b"Lambda-Runtime-Aws"),
    ("RT-PING-1", PING + answer(200, body=b"ping"), b"ping"),
    ("RT-STATE-5", NEXT + answer(403), b""),
    ("RT-STATE-5", RESPONSE + answer(413, body=b"too much"), b"too much"),
    ("RS-END-3", STREAM + b"5\r\nhello\r\n" + answer(202, body=OK), b"HTTP/1.1 202"),
    # what a runtime may not write
    ("RS-HEAD-2", request(ID + b"/response", MODE, b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n", b"Content-Length"),
    ("RS-HEAD-2", request(ID + b"/response", MODE, body=b"hello"), b"Content-Length"),
    ("RS-HEAD-2", request(ID + b"/response", MODE), b"Lambda-Runtime-Function-Response"),
    ("RS-TRAILER-3", ended(TYPE, BODY + b"e30="), TYPE),
    ("RS-TRAILER-3", ended(BODY + b"e30="), BODY),
    ("RS-TRAILER-2", ended(TYPE + b"E", BODY + b"e30"), BODY),
    ("RS-HEAD-3", ended(TYPE + b"E", BODY + b"e30=", declared=b"a: b"), TYPE),
    ("RS-HEAD-3", ended(TYPE + b"E", BODY + b"e30=", declared=DECLARED[:43]), BODY),
    ("RT-PATH-5", request(b"/2018-06-01/runtime/invocation/%c3%a9/response", body=b"{}"), b"POST"),
    ("RT-PATH-5", request(b'/2018-06-01/runtime/invocation/a"b/error?x', body=b"{}"), b"POST"),
    ("RT-PATH-2", request(b"/2018-06-01", method=b"GET"), b"GET"),
    ("RT-PATH-2", request(b"/2018-06-02/runtime/invocation/next", method=b"GET"), b"GET"),
    ("RT-PATH-2", request(b"/", method=b"GET") + GONE, b"GET"),
    ("RT-PATH-3", request(b"/2018-06-01/ping"), b"POST"),
    ("RT-CONN-16", request(b"/2018-06-01/ping", b"A: b", b"Bad Header: 1"), b"Bad"),
    ("RT-CONN-2", request(b"/2018-06-01/ping", b"Host: y"), b"Host: y"),
    ("RT-CONN-20", request(ID + b"/response", b"Expect: foo", body=b""), b"Expect"),
    ("RT-CONN-21", request(ID + b"/response", b"Transfer-Encoding: gzip"), b"Transfer-Encoding"),
    ("LI-HEAD-2", request(ID + b"/response", b"Content-Length: 9223372036854775808"), b"Content-Length"),
    ("RS-CHUNK-1", STREAM + b"z" * 17 + b"\r\n", b"z" * 17),
    ("RT-RESP-6", request(ID + b"/response", b"Lambda-Runtime-Function-Response-Mode: Streaming", body=b""), b"Lambda"),
    ("RT-RESP-13", request(ID + b"/response", body=b"x" * (limits.MAX_PAYLOAD + 1)), b"\r\nx"),
    ("LI-ERROR-1", request(ID + b"/error", body=b"x" * (limits.MAX_PAYLOAD + 1)), b"\r\nx"),
    ("LI-ERROR-1", request(b"/2018-06-01/runtime/init/error", body=b"x" * (limits.MAX_PAYLOAD + 1)), b"\r\nx"),
    ("RS-EARLY-4", STREAM + b"5\r\nhello\r\n" + refusal(413, "RequestEntityTooLarge") + PING, b"GET"),
    # what a caller may not
    ("IN-ASK-2", request(INVOKE, body=b'{"a":}'), b"}"),
    ("IN-ASK-11", request(INVOKE, b"X-Amz-Client-Context: !", body=b"{}"), b"X-Amz"),
    ("IN-ASK-9", request(INVOKE, b"X-Amz-Invocation-Type: News", body=b"{}"), b"X-Amz"),
    ("IN-PATH-1", request(INVOKE, method=b"GET"), b"GET"),
    ("IN-PATH-2", request(STREAMING_INVOKE, method=b"GET"), b"GET"),
    ("IN-ASK-5", request(INVOKE, body=b"x" * (limits.MAX_INVOKE_EVENT + 1)), b"\r\nx"),
    (
        "IN-ASK-6",
        request(INVOKE, b"X-Amz-Invocation-Type: Event", body=b" " * limits.MAX_ASYNC_EVENT + b"{}"),
        b"\r\n ",
    ),
    ("FU-EVENT-39", request(b"/x", body=b"x" * (limits.MAX_INVOKE_EVENT + 1)), b"\r\nx"),
    # what a refusal tells of the request before it
    ("RT-PATH-7", RESPONSE + refusal(400, "InvalidRequestID"), b"POST"),
    ("RT-MANAGED-6", RESPONSE + refusal(410, "InvokeTimeout"), b"POST"),
    ("RT-RESP-14", RESPONSE + refusal(400, "TruncatedHTTPRequest"), b"{}HTTP"),
    ("RT-RESP-13", RESPONSE + refusal(413, "RequestEntityTooLarge"), b"{}HTTP"),
    ("LI-ERROR-1", ERROR + refusal(413, "RequestEntityTooLarge"), b"{}HTTP"),
    ("LI-ERROR-1", RESTORE_ERROR + refusal(413, "RequestEntityTooLarge"), b"{}HTTP"),
    ("RT-RESP-15", RESPONSE + forbidden(State.RESPONSE_SENT, State.INVOCATION_RESPONSE), b"POST"),
    ("RT-RESP-15", ERROR + forbidden(State.INVOCATION_RESPONSE, State.INVOCATION_ERROR_RESPONSE), b"POST"),
    ("RT-RESP-12", NEXT + forbidden(State.INVOCATION_RESPONSE, State.READY), b"GET"),
    ("RT-INIT-4", INIT_ERROR + forbidden(State.INIT_ERROR, State.INIT_ERROR), b"POST"),
    ("RT-INIT-4", INIT_ERROR + forbidden(State.READY, State.INIT_ERROR), b"POST"),
    ("ER-EXIT-8", NEXT + forbidden(State.INIT_ERROR, State.READY), b"GET"),
    ("RT-RESTORE-8", RESTORE_ERROR + forbidden(State.STARTED, State.RESTORE_ERROR), b"POST"),
    ("RT-RESTORE-7", NEXT + forbidden(State.RESTORE_ERROR, State.READY), b"GET"),
    ("RT-STATE-2", RESPONSE + forbidden(State.READY, State.INVOCATION_RESPONSE), b"POST"),
    ("RT-STATE-2", RESPONSE + refusal(403, "InvalidStateTransition"), b"POST"),
    # and of one that the capture does not have
    ("ER-EXIT-8", forbidden(State.INIT_ERROR, State.READY), b"HTTP"),
    ("RT-RESP-6", refusal(400, "InvalidFunctionResponseMode"), b"HTTP"),
]


@pytest.mark.parametrize(("rule", "data", "begins"), BROKEN, ids=[f"{it[0]}-{n}" for n, it in enumerate(BROKEN)])
def test_one_rule_is_named_where_it_is_broken(rule: str, data: bytes, begins: bytes) -> None:
    """The field, the body, or the request or answer as a whole; and what was expected is said."""
    found = first(explained(data))
    assert found is not None
    place = data.rindex(begins) + (2 if begins.startswith(b"\r\n") else 0)
    assert (found.rules, found.offset) == ((rule,), place)
    assert "expected" in found.what or rule in ("RT-NEXT-5", "RS-CHUNK-1")


WITHOUT: Final = [
    NEXT + answer(200, *INVOCATION, body=b"{}"),
    RESPONSE + answer(202, body=OK),
    RESTORE_ERROR + answer(202, body=OK),
    RESTORE + answer(200),
    RESTORE + GONE,
    PING + answer(200, body=b"pong"),
    NEXT + refusal(500, "InternalServerError"),
    PING + answer(405) + PING + answer(400, body=b"400 Bad Request"),
    answer(500),
    request(b"/", method=b"GET") + answer(404, b"x-amzn-RequestId: 1", body=b"404 page not found\n"),
    request(b"/", method=b"GET") + answer(404, body=b"no such page"),
    ended(TYPE + b"E", BODY + b"e30="),
    ended(b"a: b"),
    request(b"/2018-06-01/runtime/invocation/a%20b/response?x=1", body=b"{}"),
    request(b"http://x" + ID + b"/response", body=b"{}"),
    request(ID + b"/response", b"Content-Length: 5", CHUNKED) + b"0\r\n\r\n",
]


@pytest.mark.parametrize("data", WITHOUT, ids=range(len(WITHOUT)))
def test_what_a_rule_allows_is_no_violation(data: bytes) -> None:
    """Refusals in plain text where they are (RT-PATH-2, RT-CONN-16), paths of a function URL, whole trailers."""
    assert named(explained(data)) == ""


def test_a_plain_refusal_is_told_by_its_own_rule() -> None:
    """RT-STATE-5 excepts it."""
    assert explained(PING + GONE)[-1].rules == ("RT-PATH-2",)
    assert explained(PING + answer(405))[-1].rules == ("RT-PATH-3",)
    assert explained(NEXT + refusal(500, "InternalServerError"))[-1].rules == ("RT-STATE-5",)


def test_a_refused_mode_holds_the_environment() -> None:
    """What is refused after it is refused for it, whoever noticed it first (RT-RESP-7)."""
    odd = request(ID + b"/response", b"Lambda-Runtime-Function-Response-Mode: odd", body=b"")
    later = forbidden(State.INVOCATION_RESPONSE, State.READY)
    data = odd + refusal(400, "InvalidFunctionResponseMode") + NEXT + later
    broken = [piece for piece in explained(data) if piece.verdict is Verdict.VIOLATION]
    assert [(piece.rules, piece.offset) for piece in broken] == [
        (("RT-RESP-6",), data.index(b"Lambda-Runtime-Function")),
        (("RT-RESP-7",), data.index(b"GET")),
    ]
    alone = explained(refusal(400, "InvalidFunctionResponseMode") + later)
    assert [piece.rules for piece in alone if piece.verdict is Verdict.VIOLATION] == [("RT-RESP-6",), ("RT-RESP-7",)]


def test_a_limit_that_the_refusal_names() -> None:
    """Of a stream, and of an event that nobody waits for."""
    stream, event = too_large(limits.MAX_STREAM), event_too_large(limits.MAX_ASYNC_EVENT)
    assert [getattr(broken_by(None, reply), "rule", None) for reply in (stream, event)] == ["LI-STREAM-1", "IN-ASK-6"]
    assert broken_by(None, Refused(status=500, error_type="Odd")) is None


@pytest.mark.parametrize("begun", [b"", b"5\r\nhello\r\n", b"5\r\nhello", b"5\r\nhello\r\n0\r\n"])
def test_an_early_refusal_breaks_no_rule(begun: bytes) -> None:
    """It begins where the framing of a chunk is due, and the stream may go on behind it (RS-EARLY-1, RS-EARLY-3)."""
    early = refusal(413, "RequestEntityTooLarge")
    pieces = explained(STREAM + begun + early)
    assert (named(pieces), meanings(pieces)) == ("", ["Refused"])
    (status,) = [piece for piece in pieces if piece.rules == ("RS-EARLY-1",)]
    assert (status.offset, status.layer) == (len(STREAM + begun), Layer.WIRE)
    rest = b"5\r\nhello\r\n0\r\n\r\n"[len(begun) :]
    assert meanings(explained(STREAM + begun + early + rest)) == ["Refused", "ResponseFinished"]


def test_an_early_interim_answer_is_none() -> None:
    """The final one is still due (RT-CONN-13)."""
    data = STREAM + b"HTTP/1.1 100 Continue\r\n\r\n0\r\n\r\n" + answer(202, body=OK)
    assert meanings(explained(data)) == ["ResponseFinished", "Accepted"]
    assert named(explained(data)) == ""


def test_an_early_refusal_for_another_reason_than_size_is_told() -> None:
    """It is known from the head alone (RT-STATE-1)."""
    assert named(explained(STREAM + refusal(400, "InvalidRequestID"))) == "RT-PATH-7 0"


def test_half_an_object_need_not_be_a_prelude() -> None:
    """Nobody can know, and both are said."""
    (cut,) = explained(b'{"errorMessage":"m","errorTy', "prelude")
    assert (cut.verdict, cut.what.partition(": ")[0]) == (
        Verdict.INCOMPLETE,
        "ends at byte 28, inside a prelude, or other JSON, begun at byte 0",
    )
