"""Events are read and results written as AWS's client does it, except where what it writes is no JSON."""

from __future__ import annotations

import importlib
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire.bootstrap.failures import RuntimeFault
from lambda_wire.bootstrap.marshalling import read_event, write_json
from tests.bootstrap_parts import invocation
from tests.real_parts import need_module

NEWER = ["AWS_Lambda_python3.12", "AWS_Lambda_python3.13", "AWS_Lambda_python3.15"]
OLDER = ["", "AWS_Lambda_python3.11", "AWS_Lambda_python3.9", "AWS_Lambda_nodejs24.x", "AWS_Lambda_python3.x"]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_is_parsed(content_type: str) -> None:
    """With parameters and without, and where the content type is missing."""
    assert read_event(invocation({"a": ["é", 1.5, None]}, content_type=content_type)) == {"a": ["é", 1.5, None]}


def test_another_content_type_hands_the_bytes_over() -> None:
    assert read_event(invocation(payload=b"\xff\x00", content_type="application/octet-stream")) == b"\xff\x00"


@pytest.mark.parametrize("payload", [b"", b"{", b'"\xff"', b"[" * 100_000, b"9" * 5000])
def test_what_should_be_json_and_is_not_is_an_unmarshal_error(payload: bytes) -> None:
    with pytest.raises(RuntimeFault, match="Unable to unmarshal input: ") as caught:
        read_event(invocation(payload=payload))
    assert caught.value.error_type == "Runtime.UnmarshalError"


def test_json_is_written_with_blanks_and_escaped_to_ascii() -> None:
    assert write_json({"a": [1, "é\x7f"], "b": None}) == b'{"a": [1, "\\u00e9\\u007f"], "b": null}'


@pytest.mark.parametrize("name", NEWER)
def test_newer_pythons_of_aws_write_text_as_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", name)
    assert write_json("é\x7f") == '"é\x7f"'.encode()


@pytest.mark.parametrize("name", OLDER)
def test_everyone_else_escapes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", name)
    assert write_json("é") == b'"\\u00e9"'


def test_decimals_keep_their_digits() -> None:
    """Also beside text that looks like what stands for them."""
    assert (
        write_json([Decimal("1.10"), "1.10", Decimal("-1E+2"), {"n": Decimal(0)}]) == b'[1.10, "1.10", -1E+2, {"n": 0}]'
    )


def test_bytes_inside_a_value_are_text() -> None:
    assert write_json({"body": "é".encode()}) == b'{"body": "\\u00e9"}'


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), {"a": [-float("inf")]}, Decimal("NaN"), Decimal("-Infinity")]
)
def test_what_is_no_number_is_refused_and_the_message_says_what_to_do(value: object) -> None:
    """AWS's client would write NaN, which is no JSON."""
    with pytest.raises(RuntimeFault, match="NaN and Infinity are no JSON: return None or a string") as caught:
        write_json(value)
    assert caught.value.error_type == "Runtime.MarshalError"


class Rude(dict[str, int]):
    """Raises when it is looked at."""

    def items(self) -> Any:
        raise LookupError("rude")


LOOP: list[object] = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "Object of type object is not JSON serializable"),
        ({1, 2}, "Object of type set is not JSON serializable"),
        ({(1,): 2}, "keys must be str"),
        (LOOP, "Circular reference"),
        (b"\xff", "can't decode byte"),
        (Rude(a=1), "rude"),
    ],
)
def test_what_cannot_be_said_is_a_marshal_error(value: object, reason: str) -> None:
    value = [value]  # bytes alone would be an answer of their own
    with pytest.raises(RuntimeFault, match="Unable to marshal response: ") as caught:
        write_json(value)
    assert caught.value.error_type == "Runtime.MarshalError"
    assert reason in str(caught.value)


def test_a_lone_surrogate_that_cannot_travel_is_a_marshal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EXECUTION_ENV", NEWER[0])
    with pytest.raises(RuntimeFault, match="surrogates not allowed"):
        write_json("\ud800")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.decimals(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(values)
def test_awss_client_writes_the_same_bytes(value: object) -> None:
    need_module("awslambdaric")
    awss = importlib.import_module("awslambdaric.lambda_runtime_marshaller")
    assert write_json(value) == awss.to_json(value).encode()


@given(values)
def test_what_was_written_is_json(value: object) -> None:
    json.loads(write_json(value))
