"""Events are read and results written as AWS's client does it, except where what it writes is no JSON."""

from __future__ import annotations

import enum
import functools
import importlib
import json
import math
import sys
import types
from collections import abc
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambda_wire.bootstrap.failures import RuntimeFault
from lambda_wire.bootstrap.marshalling import read_event, takes_bytes, write_json
from tests.bootstrap_parts import invocation
from tests.real_parts import need_module

NEWER = ["AWS_Lambda_python3.12", "AWS_Lambda_python3.13", "AWS_Lambda_python3.15"]
OLDER = ["", "AWS_Lambda_python3.11", "AWS_Lambda_python3.9", "AWS_Lambda_nodejs24.x", "AWS_Lambda_python3.x"]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8", ""])
def test_json_is_parsed(content_type: str) -> None:
    """With parameters and without, and where the content type is missing (RT-NEXT-14)."""
    assert read_event(invocation({"a": ["é", 1.5, None]}, content_type=content_type)) == {"a": ["é", 1.5, None]}


def test_another_content_type_hands_the_bytes_over() -> None:
    assert read_event(invocation(payload=b"\xff\x00", content_type="application/octet-stream")) == b"\xff\x00"


@pytest.mark.parametrize("payload", [b"", b"{", b'"\xff"', b"[" * 100_000, b"9" * 5000])
def test_what_should_be_json_and_is_not_is_an_unmarshal_error(payload: bytes) -> None:
    """By its own type (ER-TYPE-7)."""
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


class Mute(Exception):
    """Has no message, and raises when it is asked for one."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


class RaisesMute(dict[str, int]):
    """Raises it when it is looked at."""

    def items(self) -> Any:
        raise Mute


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
        (RaisesMute(a=1), "Mute has no message"),
    ],
)
def test_what_cannot_be_said_is_a_marshal_error(value: object, reason: str) -> None:
    """By its own type (ER-TYPE-7)."""
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


class Pair(NamedTuple):
    """An array to us, an object to AWS's client."""

    left: object
    right: object


class Row:
    """Nothing to us, an object to AWS's client."""

    def _asdict(self) -> dict[str, int]:
        return {"a": 1}


class Colour(enum.IntEnum):
    """A number with a name."""

    RED = 1


class Word(str, enum.Enum):  # noqa: UP042  # its text is another than that of a StrEnum
    """A text with a name."""

    RED = "red"


keys = st.sampled_from(
    [1, 1.5, True, False, None, Colour.RED, Word.RED, "1", "\ud800", b"a", (1,), Decimal(1), math.nan]
)
numbers = [math.nan, -math.inf, Decimal("NaN"), Decimal("-sNaN"), Decimal("Infinity"), Decimal("1E+2"), Decimal("-0")]
texts = [b"a", b"\xff", bytearray(b"a"), "\ud800\udc00", "\udc00", "\x7f\x00\u2028</a>", Word.RED]
objects: list[object] = [
    {1},
    object(),
    1j,
    range(2),
    Colour.RED,
    10**400,
    Pair(1, 2),
    Row(),
    types.MappingProxyType({}),
]
strange = st.sampled_from(numbers) | st.sampled_from(texts) | st.sampled_from(objects)
anything = st.recursive(
    values | strange,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | keys, inner, max_size=3)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=8,
)


def parts_of(value: object) -> abc.Iterator[object]:
    """Yield a value and all that is in it, keys as arrays of their own."""
    yield value
    inner: abc.Iterable[object] = ()
    if isinstance(value, dict):
        inner = [[[key] for key in value], *value.values()]
    elif isinstance(value, (list, tuple)):
        inner = value
    for part in inner:
        yield from parts_of(part)


def is_no_number(value: object) -> bool:
    """Say whether it is NaN or infinite."""
    return isinstance(value, (float, Decimal)) and not Decimal(value).is_finite()


#: Where we mean to differ: what has it, the value that shows it, and what AWS's client writes.
DIFFERENCES: dict[str, tuple[abc.Callable[[object], bool], object, str]] = {
    "NaN and infinities are no JSON": (is_no_number, Decimal("-Infinity"), "-Infinity"),
    "a named tuple is an array": (lambda value: isinstance(value, Pair), Pair(1, 2), '{"left": 1, "right": 2}'),
    "an object with _asdict is nothing": (lambda value: isinstance(value, Row), Row(), '{"a": 1}'),
    "bytes are no key": (lambda value: isinstance(value, dict) and b"a" in value, {b"a": 1}, '{"a": 1}'),
}


def written(write: abc.Callable[[object], object], value: object) -> str:
    """Return what is written, or the type of the error."""
    try:
        said = write([value])
        return said.decode() if isinstance(said, bytes) else str(said).encode().decode()
    except UnicodeEncodeError:  # AWS's client fails when it sends it
        return "Runtime.MarshalError"
    except Exception as fault:  # noqa: BLE001  # each has its own
        return str(getattr(fault, "error_type", None) or getattr(fault, "exception_type", fault))


def by_aws(value: object) -> object:
    need_module("awslambdaric")
    return (
        importlib.import_module("awslambdaric.lambda_runtime_marshaller").LambdaMarshaller().marshal_response(value)[0]
    )


@pytest.mark.parametrize("name", ["", NEWER[0]])
@given(anything)
def test_awss_client_writes_the_same_bytes(name: str, value: object) -> None:
    """Of whatever a handler returns: the same bytes or the same error, save where we mean to differ."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_EXECUTION_ENV", name)
        ours, theirs = written(write_json, value), written(by_aws, value)
    if not any(differs(part) for differs, _, _ in DIFFERENCES.values() for part in parts_of(value)):
        assert ours == theirs


@pytest.mark.parametrize("name", DIFFERENCES)
def test_where_awss_client_writes_something_else(name: str) -> None:
    """Each difference is one."""
    differs, value, theirs = DIFFERENCES[name]
    assert differs(value)
    assert written(by_aws, value) == f"[{theirs}]"
    assert written(write_json, value) == ("[[1, 2]]" if isinstance(value, Pair) else "Runtime.MarshalError")


@given(values)
def test_what_was_written_is_json(value: object) -> None:
    json.loads(write_json(value))


# -- who parses


def event_as_bytes(event: bytes, context: object) -> None:
    """What it is given is not parsed."""


async def later(event: bytes, context: object) -> None:
    """Likewise."""


class Callable:
    """A handler that is an object."""

    def __call__(self, event: bytes, context: object) -> None:
        """Likewise."""


def parsed(event: dict[str, object], context: bytes) -> bytes:
    raise NotImplementedError


untyped: Any = lambda event, context: event  # noqa: E731  # as most handlers are, without annotations


class Secretive:
    """Has no annotations to show."""

    @property
    def __annotations__(self) -> dict[str, object]:  # type: ignore[override]  # what the test is about
        raise RuntimeError


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        *[(event_as_bytes, True), (later, True), (Callable(), True), (Callable().__call__, True)],
        *[(functools.partial(parsed), False), (parsed, False), (untyped, False), (Secretive(), False), (print, False)],
    ],
)
def test_a_handler_says_that_it_takes_bytes(handler: object, expected: bool) -> None:
    """With the annotation of its first parameter, whatever kind of callable it is."""
    assert takes_bytes(handler) is expected


SPOKEN = """
from functools import partial, wraps

def decorated(handler):
    @wraps(handler)
    def wrapper(*args, **kwargs):
        return handler(*args, **kwargs)
    return wrapper

class Methods:
    def takes(self: bool, event: bytes, context): ...
    def gives(self: bytes, event, context) -> bytes: ...
    @classmethod
    def of_class(cls, event: bytes, context): ...
    @staticmethod
    def of_none(event: bytes, context): ...
    @decorated
    def wrapped(self, event: bytes, context): ...

class StaticCall:
    @staticmethod
    def __call__(event: bytes, context): ...

def takes(event: bytes, context): ...
def gives(event, context) -> bytes: ...
def configured(table, event: bytes, context): ...
def endless(event: bytes, context): ...
endless.__wrapped__ = endless
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def handler(event: bytes, context): ...", True),
        ("def handler(event: bytes, /, *, context=None): ...", True),
        ("def handler(event, context) -> bytes: ...", False),
        ("def handler(event, context) -> 'bytes': ...", False),
        ("def handler(event, context: bytes): ...", False),
        ("async def handler(event, context) -> bytes: ...", False),
        ("async def handler(event, context) -> bytes: yield b''", False),
        ("def handler(*arguments: bytes) -> bytes: ...", False),
        ("def handler() -> bytes: ...", False),
        ("class handler:\n    event: bytes\n    def __init__(self, event, context): ...", False),
        ("handler = Methods().takes", True),
        ("handler = Methods().gives", False),
        ("handler = Methods.of_class", True),
        ("handler = Methods.of_none", True),
        ("handler = Methods().wrapped", True),
        ("handler = StaticCall()", True),
        ("handler = decorated(takes)", True),
        ("handler = decorated(gives)", False),
        ("handler = decorated(Methods().takes)", True),
        ("handler = decorated(decorated(StaticCall()))", True),
        ("handler = endless", True),
        ("handler = partial(takes)", True),
        ("handler = partial(gives, 1, 2)", False),
        ("handler = partial(configured)", False),
        ("handler = partial(configured, 1)", True),
        ("handler = decorated(partial(Methods().takes, context=1))", True),
    ],
)
@pytest.mark.parametrize("said", ["", "from __future__ import annotations\n"])
def test_only_the_first_parameter_says_that_bytes_are_taken(said: str, source: str, expected: bool) -> None:
    """Not what is returned, nor ``self``, nor what a partial has given; decorators are seen through."""
    room: dict[str, object] = {}
    exec(compile(f"{said}{SPOKEN}{source}", "app.py", "exec", dont_inherit=True), room)
    assert takes_bytes(room["handler"]) is expected


class Library(types.ModuleType):
    """Another JSON library, which writes text or bytes."""

    def __init__(self, written: object) -> None:
        super().__init__("anothers_json")
        self.written = written

    def loads(self, data: bytes) -> object:
        if data == b"?":
            raise KeyError("no JSON")
        return ["read", data]

    def dumps(self, value: object) -> object:
        if isinstance(value, set):
            raise TypeError("no sets")
        return self.written


@pytest.mark.parametrize("written", ["é", "é".encode(), bytearray("é".encode())])
def test_another_library_is_used_when_it_is_named(written: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways; its faults are told as ever."""
    monkeypatch.setitem(sys.modules, "anothers_json", Library(written))
    monkeypatch.setenv("LAMBDA_WIRE_JSON", "anothers_json")
    assert read_event(invocation(payload=b"1")) == ["read", b"1"]
    assert write_json(1) == "é".encode()
    assert type(write_json(1)) is bytes
    with pytest.raises(RuntimeFault, match=r"Unable to unmarshal input: .*no JSON"):
        read_event(invocation(payload=b"?"))
    with pytest.raises(RuntimeFault, match="Unable to marshal response: no sets"):
        write_json({1})


def test_a_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways, with the variable that named it."""
    monkeypatch.setenv("LAMBDA_WIRE_JSON", "no_such_json")
    for act in (functools.partial(read_event, invocation(1)), functools.partial(write_json, 1)):
        with pytest.raises(RuntimeFault, match="LAMBDA_WIRE_JSON names 'no_such_json', which cannot be imp") as caught:
            act()
        assert caught.value.error_type == "Runtime.ImportModuleError"


def test_orjson_is_such_a_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fastest that there is."""
    need_module("orjson")
    monkeypatch.setenv("LAMBDA_WIRE_JSON", "orjson")
    assert read_event(invocation(payload=b'{"a":[1.5,null]}')) == {"a": [1.5, None]}
    assert write_json({"a": "é"}) == '{"a":"é"}'.encode()
