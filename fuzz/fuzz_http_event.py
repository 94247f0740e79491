"""One mouth and one hand: a function URL, which makes an event of a request and a response of what a function said."""

from __future__ import annotations

import json
from base64 import b64decode
from contextlib import suppress

from lambda_wire._errors import RemoteProtocolError
from lambda_wire._heads import encode_response_head
from lambda_wire._http11 import MessageReader
from lambda_wire._http_event import UrlRequest, buffered_response, function_url_event, streamed_head
from lambda_wire._invoke_events import OtherAsked
from lambda_wire._invoke_service import InvokeServiceConnection
from lambda_wire._malformed import Malformed
from lambda_wire._messages import ResponseHead
from lambda_wire._names import HOP_BY_HOP_FIELDS
from lambda_wire._prelude import PreludeDecoder
from lambda_wire._signals import NEED_DATA, Role
from lambda_wire._types import Headers


def one_input(data: bytes) -> None:
    """A request is an event that JSON can say, with the request's body and without the fields of its connection.

    Any result, and any stream that begins with a prelude, is a response head that another reads as it was meant, or
    ``Malformed``.
    """
    service = InvokeServiceConnection()
    service.receive_data(data)
    with suppress(RemoteProtocolError):
        if isinstance(asked := service.next_event(), OtherAsked):
            _assert_event(asked)
    status, headers, _ = buffered_response(data)
    _assert_sendable(status, headers)
    decoder = PreludeDecoder()
    decoder.feed(data)
    with suppress(Malformed):
        if (prelude := decoder.next_prelude()) is not NEED_DATA:
            status, headers = streamed_head(prelude)
            _assert_sendable(status, headers)


def _assert_event(asked: OtherAsked) -> None:
    request = UrlRequest(
        method=asked.method,
        target=asked.target,
        headers=asked.headers,
        body=asked.body,
        source_ip="127.0.0.1",
        request_id="id",
        trace_id="Root=1",
        time_ms=0,
        domain_name="id.lambda-url.test",
        port=80,
    )
    event = json.loads(json.dumps(function_url_event(request)).encode("ascii"))
    body = event.get("body", "")
    assert (b64decode(body, validate=True) if event["isBase64Encoded"] else body.encode()) == asked.body
    for texts in (event["headers"], event.get("queryStringParameters", {})):
        "".join([*texts, *texts.values()]).encode()  # no surrogates
    assert not {"connection", "transfer-encoding"} & event["headers"].keys()
    assert event["requestContext"]["http"]["method"] == asked.method


def _assert_sendable(status: int, headers: Headers) -> None:
    assert 100 <= status <= 599
    names = [name for name, _ in headers]
    assert names.count("content-type") == 1
    assert not HOP_BY_HOP_FIELDS & {*names}
    reader = MessageReader(Role.CLIENT)
    reader.receive_data(encode_response_head(200, headers))  # of the others some have no body, and 101 no HTTP
    head = reader.next_event()
    assert isinstance(head, ResponseHead)
    assert head.headers == headers
