"""The context object says all that AWS's says, and what the wire says beyond it."""

from __future__ import annotations

import importlib
import json
import time
from typing import Any

import pytest

from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.context import LambdaContext
from lambda_wire.bootstrap.event_loop import EventLoop
from lambda_wire.bootstrap.failures import RuntimeFault
from lambda_wire.bootstrap.slot_loop import SlotLoop
from tests.bootstrap_parts import RecordingRuntime, invocation, served
from tests.real_parts import need_module

ENVIRONMENT = {
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/[1]abc",
    "AWS_LAMBDA_FUNCTION_NAME": "f",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
}
W3C = {"traceparent": "00-1-2-01", "tracestate": "a=1", "baggage": 7, "other": "x"}
CLIENT = {
    "client": {"installation_id": "i", "app_title": "é"},
    "custom": {"k": "v"},
    "env": {"locale": "fr"},
    "w3c": W3C,
}
IDENTITY = {"cognitoIdentityId": "id", "cognitoIdentityPoolId": "pool"}


def context(**fields: Any) -> LambdaContext:
    said = invocation(**fields)
    return LambdaContext(said, Answer(RecordingRuntime(), said), SlotLoop(EventLoop(print)))


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> LambdaContext:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return context(
        request_id="r",
        invoked_function_arn="arn",
        tenant_id="t",
        deadline_ms=123,
        trace_id="Root=1",
        invocation_id="inv",
        client_context=json.dumps(CLIENT, ensure_ascii=False),
        cognito_identity=json.dumps(IDENTITY),
        headers=(("x-new", "1"),),
    )


def test_says_what_the_invocation_and_the_environment_say(full: LambdaContext) -> None:
    assert (full.aws_request_id, full.invoked_function_arn, full.tenant_id) == ("r", "arn", "t")
    assert (full.log_group_name, full.log_stream_name) == ("/aws/lambda/f", "2026/[1]abc")
    assert (full.function_name, full.memory_limit_in_mb, full.function_version) == ("f", "128", "$LATEST")
    assert full.client_context is not None
    assert full.client_context.client is not None
    assert full.client_context.client.app_title == "é"
    assert full.client_context.client.app_package_name is None
    assert (full.client_context.custom, full.client_context.env) == ({"k": "v"}, {"locale": "fr"})
    assert (full.identity.cognito_identity_id, full.identity.cognito_identity_pool_id) == ("id", "pool")
    assert full.w3c() == {"traceparent": "00-1-2-01", "tracestate": "a=1"}


def test_says_what_the_wire_has_beyond_awss(full: LambdaContext) -> None:
    assert (full.deadline_ms, full.trace_id, full.invocation_id) == (123, "Root=1", "inv")
    assert (full.content_type, full.headers) == ("application/json", (("x-new", "1"),))


def test_what_is_missing_is_missing_as_in_awss(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
    bare = context()
    assert (bare.tenant_id, bare.client_context, bare.function_name, bare.deadline_ms) == (None, None, None, None)
    assert (bare.invoked_function_arn, bare.trace_id, bare.invocation_id) == ("", "", "")
    assert (bare.identity.cognito_identity_id, bare.identity.cognito_identity_pool_id) == (None, None)
    assert bare.w3c() == {}
    assert context(client_context="null", cognito_identity="null").client_context is None
    assert context(client_context='{"w3c": 7}').w3c() == {}


def test_has_every_attribute_of_awss(full: LambdaContext) -> None:
    """Names, and values where they are plain."""
    need_module("awslambdaric")
    awss = importlib.import_module("awslambdaric.lambda_context")
    theirs = awss.LambdaContext("r", dict(CLIENT), dict(IDENTITY), 123, "arn", "t")
    for name in (name for name in dir(theirs) if not name.startswith("_")):
        ours, expected = getattr(full, name), getattr(theirs, name)
        if isinstance(expected, (str, int, type(None))):
            assert ours == expected, name
    assert theirs.w3c() == full.w3c()
    for whole in ("client_context", "identity"):
        for name in getattr(theirs, whole).__slots__:
            if name != "client":
                assert getattr(getattr(full, whole), name) == getattr(getattr(theirs, whole), name)


def test_remaining_time_counts_down_and_stops_at_zero() -> None:
    """Without a deadline it is 0, as in AWS's (RT-NEXT-27)."""
    now = int(time.time() * 1000)
    assert 50_000 < context(deadline_ms=now + 60_000).get_remaining_time_in_millis() <= 60_000
    assert context(deadline_ms=now - 1).get_remaining_time_in_millis() == 0
    assert context().get_remaining_time_in_millis() == 0


def test_log_writes_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    context().log("text")
    context().log(7)
    assert capsys.readouterr().out == "text7"


def test_shows_itself(full: LambdaContext) -> None:
    shown = repr(full)
    assert shown.startswith("LambdaContext(aws_request_id='r', ")
    assert "ClientContext(custom={'k': 'v'}, " in shown
    assert "_answer" not in shown


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"client_context": "{"}, "Unable to parse Client Context JSON: "),
        ({"client_context": "[" * 100_000}, "Unable to parse Client Context JSON: "),
        ({"client_context": '"\udcff"'}, "Unable to parse Client Context JSON: "),
        ({"client_context": "[1]"}, "Unable to read Client Context: expected a JSON object, got list"),
        ({"client_context": '{"client": 7}'}, "the client of Client Context: expected a JSON object, got int"),
        ({"cognito_identity": "x"}, "Unable to parse Cognito Identity JSON: "),
        ({"cognito_identity": '"x"'}, "Unable to read Cognito Identity: expected a JSON object, got str"),
    ],
)
def test_what_is_malformed_is_reported_and_the_loop_goes_on(fields: dict[str, Any], message: str) -> None:
    """By its own type (ER-TYPE-7)."""
    with pytest.raises(RuntimeFault) as caught:
        context(**fields)
    assert message in str(caught.value)
    runtime = served(lambda event, _: event, invocation(1, **fields), invocation(2))
    assert runtime.kinds == ["ErrorReported", "BufferedResponse"]
    assert runtime.error["errorType"] == "Runtime.LambdaContextUnmarshalError"
