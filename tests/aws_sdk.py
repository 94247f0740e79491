"""AWS's SDK for Python as a caller of streams, and what its answers hold."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.real_parts import need_module


@contextmanager
def lambda_client(url: str) -> Iterator[Any]:
    """Make AWS's SDK a client of the Lambda at ``url``, with nothing but the endpoint changed; it never retries."""
    need_module("boto3")
    config = importlib.import_module("botocore.config").Config(retries={"total_max_attempts": 1})
    client = importlib.import_module("boto3").client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="id",
        aws_secret_access_key="secret",
        config=config,
    )
    try:
        yield client
    finally:
        client.close()


def whole(answer: Any) -> tuple[list[bytes], dict[str, str]]:
    """Return the payload of each PayloadChunk, and InvokeComplete, which must be the last event and the only one."""
    *chunks, last = answer["EventStream"]
    assert [list(event) for event in chunks] == [["PayloadChunk"]] * len(chunks)
    return [event["PayloadChunk"]["Payload"] for event in chunks], last["InvokeComplete"]


def log_of(result: str) -> str:
    """Return the text of a ``LogResult``, which has at most 4 KiB of it."""
    log = base64.b64decode(result, validate=True)
    assert len(log) <= 4096
    return log.decode("utf-8", "replace")
