"""Which rules of ``spec/`` speak of what: of an event, of a header field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lambda_wire import _names as names
from lambda_wire._events import (
    Accepted,
    BufferedResponse,
    ErrorReported,
    InitErrorReported,
    Invocation,
    NextAsked,
    PingAsked,
    Pong,
    Refused,
    ResponseFailed,
    ResponseFinished,
    ResponseStarted,
    RestoreAsked,
    RestoreErrorReported,
    RestoreReady,
)
from lambda_wire._invoke_events import (
    InvokeAccepted,
    InvokeAnswered,
    InvokeAsked,
    InvokeComplete,
    InvokeFailed,
    InvokeRefused,
    OtherAsked,
    PayloadChunk,
)

__all__ = [
    "ANSWER_FIELDS",
    "CONTENT_TYPES",
    "EVENTS",
    "REQUEST_FIELDS",
    "URL_ANSWER",
    "URL_ANSWER_FIELDS",
    "URL_REQUEST_FIELDS",
]

#: What an event is in words, and the rules for it.
EVENTS: Final[Mapping[type, tuple[str, tuple[str, ...]]]] = {
    NextAsked: ("poll for an invocation", ("RT-NEXT-1",)),
    BufferedResponse: ("response to an invocation", ("RT-RESP-1",)),
    ResponseStarted: ("streamed response", ("RS-HEAD-1",)),
    ResponseFinished: ("end of a streamed response", ("RS-END-1",)),
    ResponseFailed: ("end of a streamed response that failed", ("RS-TRAILER-1",)),
    ErrorReported: ("error of an invocation", ("RT-ERR-1",)),
    InitErrorReported: ("error of the start", ("RT-INIT-1",)),
    RestoreAsked: ("poll for the restore", ("RT-RESTORE-1",)),
    RestoreErrorReported: ("error after the restore", ("RT-RESTORE-7",)),
    PingAsked: ("ping", ("RT-PING-1",)),
    Invocation: ("invocation", ("RT-NEXT-4",)),
    Accepted: ("acceptance", ("RT-RESP-10",)),
    Refused: ("refusal", ("RT-STATE-5",)),
    RestoreReady: ("restored environment", ("RT-RESTORE-3",)),
    Pong: ("pong", ("RT-PING-1",)),
    InvokeAsked: ("call of a function", ("IN-ASK-1",)),
    OtherAsked: ("request to a function URL", ("FU-EVENT-1",)),
    InvokeAnswered: ("answer of Invoke", ("IN-ANSWER-6",)),
    InvokeAccepted: ("answer of InvokeWithResponseStream", ("IN-STREAM-1",)),
    InvokeRefused: ("refusal", ("IN-ERROR-9",)),
    PayloadChunk: ("bytes of the response", ("ES-MESSAGE-7",)),
    InvokeComplete: ("end of the response", ("ES-MESSAGE-12",)),
    InvokeFailed: ("failure of the service", ("ES-MESSAGE-27", "ES-MESSAGE-28")),
}

#: The rules for the field ``Content-Type``, where there is one.
CONTENT_TYPES: Final[Mapping[type | None, str]] = {
    BufferedResponse: "RT-RESP-3",
    ErrorReported: "ER-DOC-4",
    InitErrorReported: "ER-DOC-4",
    RestoreErrorReported: "ER-DOC-4",
    InvokeAsked: "IN-ASK-4",
    Invocation: "RT-NEXT-13",
    InvokeAnswered: "IN-ANSWER-7",
    InvokeAccepted: "IN-STREAM-1",
}


def _by_name(fields: Mapping[str, str]) -> Mapping[str, str]:
    return {name.lower(): rule for name, rule in fields.items()}


#: The rules for other fields of requests, and of answers, by their names in lower case.
REQUEST_FIELDS: Final = _by_name(
    {
        names.HOST: "RT-CONN-2",
        names.USER_AGENT: "RT-CONN-19",
        "Expect": "RT-CONN-12",
        names.CONNECTION: "RT-CONN-4",
        names.CONTENT_LENGTH: "RT-CONN-9",
        names.TRANSFER_ENCODING: "RS-HEAD-2",
        names.TRAILER: "RS-HEAD-3",
        names.FUNCTION_RESPONSE_MODE: "RS-HEAD-1",
        names.INVOCATION_ID: "RT-RESP-8",
        names.FUNCTION_ERROR_TYPE: "ER-TYPE-1",
        names.FUNCTION_XRAY_ERROR_CAUSE: "ER-XRAY-1",
        names.X_AMZ_INVOCATION_TYPE: "IN-ASK-7",
        names.X_AMZ_LOG_TYPE: "IN-ASK-10",
        names.X_AMZ_CLIENT_CONTEXT: "IN-ASK-11",
        names.X_AMZ_TENANT_ID: "IN-ASK-16",
        names.X_AMZN_TRACE_ID: "IN-ASK-17",
        names.X_AMZN_REQUEST_ID: "IN-ASK-18",
    }
)
ANSWER_FIELDS: Final = _by_name(
    {
        names.CONNECTION: "RT-CONN-4",
        names.CONTENT_LENGTH: "RT-CONN-11",
        names.TRANSFER_ENCODING: "RT-CONN-11",
        names.ALLOW: "RT-PATH-3",
        names.AWS_REQUEST_ID: "RT-NEXT-5",
        names.DEADLINE_MS: "RT-NEXT-6",
        names.INVOKED_FUNCTION_ARN: "RT-NEXT-7",
        names.TRACE_ID: "RT-NEXT-8",
        names.CLIENT_CONTEXT: "RT-NEXT-9",
        names.COGNITO_IDENTITY: "RT-NEXT-10",
        names.AWS_TENANT_ID: "RT-NEXT-11",
        names.INVOCATION_ID: "RT-NEXT-12",
        names.X_AMZ_FUNCTION_ERROR: "IN-ERROR-1",
        names.X_AMZ_EXECUTED_VERSION: "IN-ANSWER-11",
        names.X_AMZN_REQUEST_ID: "IN-ANSWER-12",
        names.X_AMZN_TRACE_ID: "IN-ANSWER-13",
        names.X_AMZ_LOG_RESULT: "IN-LOG-1",
        names.X_AMZN_REMAPPED_CONTENT_TYPE: "IN-STREAM-2",
        names.X_AMZN_REMAPPED_CONTENT_LENGTH: "IN-ANSWER-9",
        names.X_AMZN_ERROR_TYPE: "IN-ERROR-9",
    }
)

#: Of an answer of a function URL: of one that a prelude makes, and of one that a buffered result makes.
URL_ANSWER: Final = ("FU-HEAD-1", "FU-BODY-20")
#: The same of a function URL: what its event holds of a field, and where a field of its answer comes from.
URL_REQUEST_FIELDS: Final = _by_name(
    {
        names.HOST: "FU-EVENT-18",
        names.USER_AGENT: "FU-EVENT-26",
        "Cookie": "FU-EVENT-19",
        "Expect": "RT-CONN-12",
        names.CONNECTION: "FU-EVENT-13",
        names.TRANSFER_ENCODING: "FU-EVENT-13",
        names.CONTENT_LENGTH: "FU-EVENT-14",
        names.CONTENT_TYPE: "FU-EVENT-32",
        "X-Forwarded-For": "FU-EVENT-15",
        "X-Forwarded-Port": "FU-EVENT-15",
        "X-Forwarded-Proto": "FU-EVENT-15",
        names.X_AMZN_TRACE_ID: "FU-EVENT-16",
    }
)
URL_ANSWER_FIELDS: Final = _by_name(
    {
        names.CONTENT_TYPE: "FU-HEAD-3",
        names.TRANSFER_ENCODING: "FU-BODY-1",
        names.CONNECTION: "FU-HEAD-13",
        "Date": "FU-HEAD-13",
        names.X_AMZN_REQUEST_ID: "FU-HEAD-13",
        names.X_AMZN_TRACE_ID: "FU-HEAD-13",
        "Set-Cookie": "FU-HEAD-6",
        "Access-Control-Allow-Origin": "FU-HEAD-14",
        names.X_AMZN_ERROR_TYPE: "FU-EVENT-37",
        f"{names.X_AMZN_REMAPPED_PREFIX}WWW-Authenticate": "FU-HEAD-10",
        **{
            f"{names.X_AMZN_REMAPPED_PREFIX}{name}": "FU-HEAD-9"
            for name in (names.CONNECTION, names.CONTENT_LENGTH, "Date", "Server", names.X_AMZN_REQUEST_ID)
        },
    }
)
