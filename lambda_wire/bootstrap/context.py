"""The context object: everything that AWS's ``LambdaContext`` has, and what the wire says beyond it."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Final

from lambda_wire import _names as names
from lambda_wire._events import Invocation
from lambda_wire._json import Json, parse_json
from lambda_wire._malformed import Malformed
from lambda_wire._types import Headers
from lambda_wire.bootstrap.answering import Answer
from lambda_wire.bootstrap.failures import RuntimeFault, write_log
from lambda_wire.bootstrap.slot_loop import SlotLoop
from lambda_wire.bootstrap.writer import ResponseWriter

__all__ = ["Client", "ClientContext", "CognitoIdentity", "LambdaContext"]

#: What of the W3C trace context is handed on. Source: awslambdaric 4.2.2, lambda_context.py.
_W3C_FIELDS: Final = ("traceparent", "tracestate", "baggage")


class _Shown:
    """Shows its attributes."""

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if not name.startswith("_"))
        return f"{type(self).__name__}({shown})"


class CognitoIdentity(_Shown):
    """Who called, where AWS's mobile SDK says so; both are ``None`` where it does not."""

    def __init__(self, said: dict[str, Json]) -> None:
        self.cognito_identity_id: Json = said.get("cognitoIdentityId")
        self.cognito_identity_pool_id: Json = said.get("cognitoIdentityPoolId")


class Client(_Shown):
    """The app that called, as AWS's mobile SDK describes it."""

    def __init__(self, said: dict[str, Json]) -> None:
        self.installation_id: Json = said.get("installation_id")
        self.app_title: Json = said.get("app_title")
        self.app_version_name: Json = said.get("app_version_name")
        self.app_version_code: Json = said.get("app_version_code")
        self.app_package_name: Json = said.get("app_package_name")


class ClientContext(_Shown):
    """What the caller sent along with the event."""

    def __init__(self, said: dict[str, Json]) -> None:
        client = _object(said.get("client"), "the client of Client Context")
        self.custom: Json = said.get("custom")
        self.env: Json = said.get("env")
        self.client: Client | None = None if client is None else Client(client)


class LambdaContext(_Shown):
    """What the handler is told about its invocation and its function.

    Args:
        invocation: What the service said.
        answer: Where the response goes.
        loop: Where an async handler runs.
        environment: What says the rest: the variables that AWS sets.

    Attributes:
        aws_request_id: Of this invocation.
        log_group_name: Where the function logs; ``None`` where the environment does not say.
        log_stream_name: Likewise.
        function_name: Likewise.
        memory_limit_in_mb: Likewise; text, as in AWS's client.
        function_version: Likewise.
        invoked_function_arn: As the caller named the function; may hold an alias. Empty when it was not said.
        tenant_id: Whose data this is, for a function with tenant isolation; else ``None``.
        client_context: What the caller sent along, or ``None``.
        identity: Who called; never ``None``.
        deadline_ms: Unix time in milliseconds; ``None`` when it was not said.
        trace_id: The X-Ray header; empty when it was not said. Also in ``_X_AMZN_TRACE_ID``, unless several
            invocations run at once.
        invocation_id: Of this attempt; empty where the service does not count attempts.
        content_type: Of the event, as received.
        headers: What else came with the event and has no name here: lower-case name and value, in order.

    Raises:
        RuntimeFault: ``Runtime.LambdaContextUnmarshalError``: client context or identity is no JSON object.
    """

    def __init__(
        self, invocation: Invocation, answer: Answer, loop: SlotLoop, environment: Mapping[str, str] = os.environ
    ) -> None:
        said = _object(_parsed(invocation.client_context, "Client Context"), "Client Context")
        identity = _object(_parsed(invocation.cognito_identity, "Cognito Identity"), "Cognito Identity")
        self.aws_request_id: str = invocation.request_id
        self.log_group_name: str | None = environment.get(names.ENV_LOG_GROUP_NAME)
        self.log_stream_name: str | None = environment.get(names.ENV_LOG_STREAM_NAME)
        self.function_name: str | None = environment.get(names.ENV_FUNCTION_NAME)
        self.memory_limit_in_mb: str | None = environment.get(names.ENV_FUNCTION_MEMORY_SIZE)
        self.function_version: str | None = environment.get(names.ENV_FUNCTION_VERSION)
        self.invoked_function_arn: str = invocation.invoked_function_arn
        self.tenant_id: str | None = invocation.tenant_id or None
        self._w3c = _w3c_fields(said)
        self.client_context: ClientContext | None = None if said is None else ClientContext(said)
        self.identity: CognitoIdentity = CognitoIdentity(identity or {})
        self.deadline_ms: int | None = invocation.deadline_ms
        self.trace_id: str = invocation.trace_id
        self.invocation_id: str = invocation.invocation_id
        self.content_type: str = invocation.content_type
        self.headers: Headers = invocation.headers
        self._answer = answer
        self._loop = loop

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the function may still run: 0 after the deadline, and when there is none."""
        if self.deadline_ms is None:
            return 0
        return max(0, self.deadline_ms - int(time.time() * 1000))

    def w3c(self) -> dict[str, str]:
        """Return the W3C trace context of the caller: ``traceparent``, ``tracestate``, ``baggage``, as far as given."""
        return dict(self._w3c)

    def log(self, msg: object) -> None:
        """Write to the log at once; no end of line is added."""
        write_log("stdout", str(msg))

    def response_writer(self) -> ResponseWriter:
        """Return the writer of this invocation's response, for code that writes instead of returning.

        In an async handler, ``async with`` gives one to ``await``.

        Raises:
            LocalProtocolError: It was asked for before: an invocation has one response.
        """
        return ResponseWriter(self._answer, self._loop)


def _parsed(text: str, name: str) -> Json:
    """Return what a JSON header says; ``None`` when it is missing."""
    if not text:
        return None
    try:
        return parse_json(text.encode("utf-8", "surrogateescape"))
    except Malformed as fault:
        raise _bad_context(f"Unable to parse {name} JSON: {fault}") from fault


def _object(said: Json, name: str) -> dict[str, Json] | None:
    if said is None or isinstance(said, dict):
        return said
    raise _bad_context(f"Unable to read {name}: expected a JSON object, got {type(said).__name__}")


def _bad_context(message: str) -> RuntimeFault:
    return RuntimeFault(names.RUNTIME_LAMBDA_CONTEXT_UNMARSHAL_ERROR, message)


def _w3c_fields(client_context: dict[str, Json] | None) -> dict[str, str]:
    """Take the trace context out of the client context, where the service has put it."""
    said = {} if client_context is None else client_context.pop("w3c", {})
    if not isinstance(said, dict):
        return {}
    fields = {name: said.get(name) for name in _W3C_FIELDS}
    return {name: value for name, value in fields.items() if isinstance(value, str)}
