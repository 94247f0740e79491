"""``spec/openapi.yaml``: it is OpenAPI, it says what the rules say, and our service answers as it says.

Whatever our service answers, the document must have it: status, fields and body. And what the document has, our service
must answer, in one situation or another. Requests are written here one by one, and made by Schemathesis, which follows
the document's links from one to the next and sends them to the Runtime API of the embedded Lambda.
"""

from __future__ import annotations

import importlib
import itertools
import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import cache, partial
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings

from lambda_wire import _names as names
from lambda_wire._events import Accepted, Invocation, RestoreReady
from lambda_wire._lifecycle import Lifecycle, ManagedLifecycle, StandardLifecycle
from lambda_wire._routes import ROUTES
from lambda_wire._service import ServiceConnection
from lambda_wire.local.call import Call
from lambda_wire.local.handover import Handover
from lambda_wire.local.modes import ManagedMode, StandardMode
from lambda_wire.local.runtime_api import RuntimeApi
from lambda_wire.local.threads import LoopThread
from tests.real_parts import need_module
from tests.running_local import PATIENCE_S
from tests.snapshot_service import SnapshotService
from tests.test_replay import Line, messages
from tests.test_spec import SPEC, of_disk

METHODS: Final = ("get", "post", "put", "delete", "patch", "head", "options", "trace")
#: Fields that HTTP itself adds to an answer.
OF_HTTP: Final = {"content-type", "content-length", "connection"}
Document = dict[str, Any]  # what a reader of YAML gives
Answer = tuple[str, int, str]  # the operation, the status, and the error type of a refusal


def module(name: str) -> Any:
    """Return an installed module of the test extra."""
    need_module(name.partition(".")[0])
    return importlib.import_module(name)


@cache
def document() -> Document:
    """Return the document."""
    schema = module("schemathesis").openapi.from_path(SPEC / "openapi.yaml")
    read: Document = schema.raw_schema
    return read


def resolved(node: Document) -> Document:
    """Return what a reference stands for; anything else stands for itself."""
    while "$ref" in node:
        target = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def operations() -> dict[str, tuple[str, str, Document]]:
    """Return method, path and operation by its id."""
    paths = document()["paths"].items()
    found = ((method, path, item[method]) for path, item in paths for method in METHODS if method in item)
    return {operation["operationId"]: (method.upper(), path, operation) for method, path, operation in found}


def answers() -> Iterator[tuple[str, int, Document]]:
    """Yield every operation, status and answer."""
    for name, (_, _, operation) in operations().items():
        for status, answer in operation["responses"].items():
            yield name, int(status), resolved(answer)


def error_types(answer: Document) -> set[str]:
    """Return the error types that an answer may have; an empty one for an answer without."""
    media = answer.get("content", {})
    schema = media.get(names.JSON, {}).get("schema", {})
    documents = [resolved(one)["properties"] for one in schema.get("oneOf", [schema]) if one]
    types = {one["errorType"]["const"] for one in documents if "errorType" in one}
    return types if types and names.PLAIN_TEXT not in media else types | {""}


# -- the document alone


def test_it_is_openapi() -> None:
    """Valid by OpenAPI 3.1, as the usual validator reads it."""
    module("openapi_spec_validator").validate(document())


def test_its_operations_are_our_routes() -> None:
    """RT-PATH-1: every row of ``_routes.py``, and no other."""
    (server,) = document()["servers"]
    prefix = "/" + server["url"].rpartition("/")[2]
    ours = {(method, prefix + path.replace("AwsRequestId", "request_id")) for method, path, _ in operations().values()}
    assert ours == {(route.method, route.path) for route in ROUTES}


def parts_of(node: Document, place: str) -> Iterator[tuple[str, Document]]:
    """Yield what says something about the wire, with its place: a node, and the fields, bodies and answers in it."""
    yield place, node
    for holder in ("parameters", "requestBody", "x-trailers", "responses", "headers", "content"):
        held = node.get(holder, {})
        if holder == "parameters":
            held = {one.get("name"): one for one in held}
        for name, part in ({holder: held} if holder == "requestBody" else held).items():
            if part and "$ref" not in part:
                yield from parts_of(part, f"{place}/{name}")


def all_parts() -> Iterator[tuple[str, Document]]:
    for name, (_, _, operation) in operations().items():
        yield from parts_of(operation, name)
    for kind, components in document()["components"].items():
        for name, component in components.items():
            yield from parts_of(component, f"{kind}/{name}")


def test_everything_cites_its_rules() -> None:
    """Each operation, parameter, field, body and document has ids of rules that are in force."""
    rules = {rule.name for rule in of_disk().rules() if not rule.withdrawn}
    known = rules | {name.rpartition("-")[0] for name in rules}
    parts = list(all_parts())
    assert len(parts) > 80
    for place, part in parts:
        assert part.get("x-rules"), f"{place} cites nothing"
        assert set(part["x-rules"]) <= known, place


def words_of(example: object) -> list[str]:
    """Return every name and every text of an example."""
    return [json.loads(word).rstrip("\n") for word in re.findall(r'"(?:[^"\\]|\\.)*"', json.dumps(example))]


def test_its_examples_are_those_of_the_pages() -> None:
    """Each is valid by its own schema, and each word of it stands on a page of rules."""
    validator = module("openapi_schema_validator").OAS31Validator
    pages = " ".join(" ".join(text.split()) for name, text in of_disk().pages.items() if name.endswith(".md"))
    seen = 0
    for place, part in all_parts():
        told = [part["example"]] if "example" in part else []
        for example in told + [one["value"] for one in part.get("examples", {}).values()]:
            seen += 1
            schema = {"components": document()["components"], "allOf": [part.get("schema", {})]}
            assert validator(schema).is_valid(example), place
            assert [word for word in words_of(example) if word not in pages] == [], place
    assert seen > 20


def test_its_fields_are_ours() -> None:
    """Every ``Lambda-Runtime-*`` field that we know is in it, and no other."""
    ours = {value for value in vars(names).values() if isinstance(value, str) and value.startswith("Lambda-Runtime-")}
    ours.add("Lambda-Runtime-Features")  # RT-CONN-19: we do not send it
    text = json.dumps(document()["paths"]) + json.dumps(document()["components"])
    assert set(re.findall(r'"(Lambda-Runtime-[\w-]+)"', text)) == ours


def test_its_refusals_are_those_of_the_rules() -> None:
    """RT-STATE-5: every row of the table is a document of some answer with that status, and there is no other."""
    (rule,) = [rule for rule in of_disk().rules() if rule.name == "RT-STATE-5"]
    rows = {(status, kind) for status, kind in re.findall(r"\| (\d{3}) \| `(\w+)` \|", rule.text)}
    found = {(str(status), kind) for _, status, answer in answers() for kind in error_types(answer) if kind}
    assert found == rows


#: The operations and statuses of AWS's description.
OPENAPI_1_0_3: Final = {
    ("GET", "/runtime/invocation/next"): {"200", "403", "500"},
    ("POST", "/runtime/invocation/{AwsRequestId}/response"): {"202", "400", "403", "413", "500"},
    ("POST", "/runtime/invocation/{AwsRequestId}/error"): {"202", "400", "403", "500"},
    ("POST", "/runtime/init/error"): {"202", "403", "500"},
}


def test_it_has_all_that_the_description_of_aws_has() -> None:
    """A tool that was made for OpenAPI 1.0.3 finds the same operations and statuses; its fields are among ours."""
    ours = {(method, path): set(operation["responses"]) for method, path, operation in operations().values()}
    assert all(statuses <= ours[operation] for operation, statuses in OPENAPI_1_0_3.items())


# -- our service against the document


def faults_of(operation_id: str, status: int, fields: Mapping[str, str], body: bytes) -> list[str]:
    """Say how an answer differs from what the document has for it; names of fields are in lower case."""
    if operation_id in document()["x-elsewhere"]:
        answer = resolved(document()["x-elsewhere"][operation_id])
    else:
        listed = operations()[operation_id][2]["responses"]
        if str(status) not in listed:
            return [f"{operation_id} has no {status}"]
        answer = resolved(listed[str(status)])
    named = {name.lower(): field for name, field in answer.get("headers", {}).items()}
    faults = [f"no {name}" for name, field in named.items() if field.get("required") and name not in fields]
    faults += [f"a field {name}" for name in fields if name not in OF_HTTP | set(named)]
    faults += [f"{name}: {fields[name]}" for name in named if name in fields and not fits(fields[name], named[name])]
    media = answer.get("content", {})
    if not media:
        return faults + ["a body"] * bool(body)
    kind = fields.get("content-type", "")
    if kind not in media and "*/*" not in media:
        return [*faults, f"the type {kind!r}"]
    described = media.get(kind, {})
    value = body.decode() if kind != names.JSON or "schema" not in described else json.loads(body)
    return faults if fits(value, described) else [*faults, f"the document {body!r}"]


def fits(value: Any, described: Document) -> bool:
    """Say whether the schema of a field or a body takes a value; where there is none, it takes any."""
    validator = module("openapi_schema_validator").OAS31Validator
    schema = {"components": document()["components"], "allOf": [described.get("schema", {})]}
    return bool(validator(schema).is_valid(value))


def kind_of(body: bytes) -> str:
    """Return the error type of a refusal; nothing for any other body."""
    return str(json.loads(body).get("errorType", "")) if body.startswith(b'{"error') else ""


#: What a request may have that is not as it should be, or just larger than our service takes here.
ODD: Final[dict[str, dict[str, Any]]] = {
    "large": {"body": b"x" * 101},
    "mode": {"fields": "Lambda-Runtime-Function-Response-Mode: bogus\r\n"},
    "cut": {"fields": "Content-Length: 9\r\n", "body": b"1"},
    "hostless": {"host": ""},
    "expecting": {"fields": "Expect: other\r\n"},
    "endless": {"fields": f"X: {'x' * 2**20}\r\n"},
    "zipped": {"fields": "Transfer-Encoding: gzip\r\n"},
    "modern": {"version": "2.0"},
}
UNREADABLE: Final = ("hostless", "expecting", "endless", "zipped", "modern")


def request(
    operation_id: str, *, fields: str = "", body: bytes = b"", host: str = "Host: h\r\n", version: str = "1.1"
) -> bytes:
    method, path, _ = operations()[operation_id]
    if body and not fields:
        fields = f"Content-Length: {len(body)}\r\n"
    target = "/2018-06-01" + path.replace("{AwsRequestId}", "it")
    return f"{method} {target} HTTP/{version}\r\n{host}{fields}\r\n".encode() + body


def answer_to(wire: bytes, lifecycle: Lifecycle) -> tuple[int, dict[str, str], bytes]:
    """Return what our service answers to a request on a connection of its own, which then ends."""
    line = Line(ServiceConnection(lifecycle, max_payload=100, max_stream=100))
    line.hear(wire)
    line.give(Invocation(request_id="it", payload=b"{}", deadline_ms=1, invoked_function_arn="arn"))
    line.hear(b"")
    ((head, body),) = messages(line.ours, ended=True)
    return head.status, dict(head.headers), body


def hold(lifecycle: Lifecycle, steps: str) -> Iterator[Answer]:
    """Ask one thing after the other of an environment; yield the answers, each of which the document has."""
    for step in steps.split():
        operation_id, _, odd = step.partition(".")
        if operation_id == "late":
            assert isinstance(lifecycle, ManagedLifecycle)
            lifecycle.expire("it")
            continue
        status, fields, body = answer_to(request(operation_id, **ODD.get(odd, {})), lifecycle)
        assert faults_of(operation_id, status, fields, body) == []
        yield operation_id, status, str(json.loads(body)["errorType"]) if body.startswith(b'{"error') else ""


def snap_start() -> StandardLifecycle:
    return StandardLifecycle(snap_start=True)


#: What is asked of an environment, one after the other: in short, all that can happen to a request.
CONVERSATIONS: Final[tuple[tuple[Callable[[], Lifecycle], str], ...]] = (
    (StandardLifecycle, "ping ping.cut next next respond respond next"),
    (StandardLifecycle, "next.cut next reportError reportError next"),
    (StandardLifecycle, "respond reportError next respond.mode next"),
    (StandardLifecycle, "next respond.large next reportError.large next respond.cut next reportError.cut"),
    (StandardLifecycle, "reportInitError reportInitError restoreNext reportRestoreError"),
    (StandardLifecycle, "reportInitError.large"),
    (StandardLifecycle, "reportInitError.cut"),
    (snap_start, "restoreNext restoreNext reportRestoreError reportRestoreError next"),
    (snap_start, "restoreNext next"),
    (snap_start, "restoreNext.cut"),
    (snap_start, "restoreNext reportRestoreError.large"),
    (snap_start, "restoreNext reportRestoreError.cut"),
    (ManagedLifecycle, "next late respond respond next late reportError reportError"),
)


def test_our_service_gives_every_answer_of_the_document_and_no_other() -> None:
    """All statuses and documents but the 500, which says that the service is broken (RT-NEXT-23)."""
    conversations = [*CONVERSATIONS]
    conversations += [(snap_start, f"{name}.{odd}") for name in operations() for odd in UNREADABLE]
    given = {answer for lifecycle, steps in conversations for answer in hold(lifecycle(), steps)}
    assert given == {
        (name, status, kind) for name, status, it in answers() if status != 500 for kind in error_types(it)
    }


@pytest.mark.parametrize("lifecycle", [StandardLifecycle, ManagedLifecycle])
@pytest.mark.parametrize(
    ("place", "line"),
    [("any other path", "GET /2018-06-01/nowhere"), ("any other path", "POST /2018-06-01/ping/")]
    + [("any other method on one of these paths", f"{method} /2018-06-01/ping") for method in ("POST", "HEAD", "BREW")],
)
def test_our_service_answers_elsewhere_as_the_document_says(
    place: str, line: str, lifecycle: Callable[[], Lifecycle]
) -> None:
    """RT-PATH-2 and RT-PATH-3, which OpenAPI has no place for."""
    status, fields, body = answer_to(f"{line} HTTP/1.1\r\nHost: h\r\n\r\n".encode(), lifecycle())
    assert status == (404 if "path" in place.split() else 405)
    assert faults_of(place, status, fields, body) == []


OK: Final = (202, {"content-type": "application/json", "content-length": "16"}, b'{"status":"OK"}\n')
BARE: Final[dict[str, str]] = {}
EVENT: Final = {
    "content-type": "application/json",
    "lambda-runtime-aws-request-id": "it",
    "lambda-runtime-deadline-ms": "1",
    "lambda-runtime-invoked-function-arn": "arn",
}


@pytest.mark.parametrize(
    ("operation_id", "answer", "fault"),
    [
        ("respond", (201, *OK[1:]), "has no 201"),
        ("respond", (202, {"content-type": "text/plain"}, OK[2]), "the type 'text/plain'"),
        ("respond", (202, OK[1], b"{}"), "the document"),
        ("respond", (202, OK[1] | {"x-new": "1"}, OK[2]), "a field x-new"),
        ("next", (200, {name: EVENT[name] for name in EVENT if "arn" not in name}, b"{}"), "no lambda-runtime-invoked"),
        ("next", (200, EVENT | {"lambda-runtime-deadline-ms": "soon"}, b"{}"), "deadline-ms: soon"),
        ("restoreNext", (200, BARE, b"{}"), "a body"),
        ("restoreNext", (200, EVENT, b""), "a field lambda-runtime-aws-request-id"),
        ("ping", (403, BARE, b""), "has no 403"),
    ],
)
def test_an_answer_that_the_document_does_not_have_is_found(
    operation_id: str, answer: tuple[int, dict[str, str], bytes], fault: str
) -> None:
    """Each part of the judgement can fail."""
    assert faults_of("respond", *OK) == faults_of("next", 200, EVENT, b"no JSON") == []
    assert fault in "; ".join(faults_of(operation_id, *answer))


# -- Schemathesis against the embedded Lambda

#: Where a Runtime API is, and what sees to it that the next poll is answered.
Service = tuple[str, Callable[[], None]]


@contextmanager
def embedded(mode: type[StandardMode | ManagedMode]) -> Generator[Service]:
    """The Runtime API of the embedded Lambda; each poll brings its own call."""
    loop = LoopThread()
    api = loop.wait(RuntimeApi.open(mode()))
    numbers = itertools.count()

    async def call() -> None:
        one = Call(b'{"k":"v"}', request_id=f"id-{next(numbers)}", client_context='{"k":"\u00e9\u2603"}', tenant_id="t")
        attempt = "1" if mode is ManagedMode else ""
        told = one.invocation(function_arn="arn:aws:lambda:us-east-1:012345678912:function:f", invocation_id=attempt)
        one.discard()
        api.hand_over(Handover(one, told, timeout_s=900))

    try:
        yield api.address, lambda: loop.wait(call())
    finally:
        loop.wait(api.close())
        loop.stop()


@contextmanager
def snapshotting() -> Generator[Service]:
    """A Runtime API with SnapStart around our service role, which answers each poll at once."""
    with SnapshotService(restored=RestoreReady(), report=Accepted()) as service:
        yield service.address, lambda: None


#: What the role says only where there is SnapStart, of that which ``SnapshotService`` can answer.
OF_SNAP_START: Final = ("restoreNext", "reportRestoreError", "reportInitError")


@pytest.mark.parametrize(
    ("service", "asked", "sure"),
    [
        (partial(embedded, StandardMode), (), {("next", 200), ("respond", 202), ("reportError", 202)}),
        (partial(embedded, ManagedMode), (), {("next", 200), ("respond", 202), ("reportError", 202)}),
        (snapshotting, OF_SNAP_START, {("restoreNext", 200), ("reportRestoreError", 202)}),
    ],
    ids=["standard", "managed", "snapshot"],
)
def test_what_schemathesis_is_answered_is_in_the_document(
    service: Callable[[], AbstractContextManager[Service]], asked: tuple[str, ...], sure: set[tuple[str, int]]
) -> None:
    """In any order, with any fields and bodies; the links lead to answers that are accepted, and some are refused."""
    schema = module("schemathesis").openapi.from_path(SPEC / "openapi.yaml")
    schema = schema.include(operation_id=list(asked)) if asked else schema
    seen: set[tuple[str, int]] = set()

    class Machine(schema.as_state_machine()):  # type: ignore[misc]  # made at run time
        def setup(self) -> None:
            self.service = service()
            self.address, self.expect_poll = self.service.__enter__()

        def teardown(self) -> None:
            self.service.__exit__(None, None, None)

        def before_call(self, case: Any) -> None:
            if case.operation.definition.raw["operationId"] == "next":
                self.expect_poll()

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            return {"base_url": f"http://{self.address}/2018-06-01", "timeout": PATIENCE_S}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            case.operation.validate_response(response)
            operation_id = case.operation.definition.raw["operationId"]
            fields = {name: ", ".join(values) for name, values in response.headers.items()}
            assert faults_of(operation_id, response.status_code, fields, response.content) == []
            seen.add((operation_id, response.status_code))

    Machine.run(
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
        )
    )
    assert sure < seen
    assert any(status >= 400 for _, status in seen)
