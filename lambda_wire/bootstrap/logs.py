"""Where a handler's ``logging`` goes: to stdout, in the format of AWS's client, with the request id in every line.

Without a handler on the root logger, Python shows only warnings, so the usual ``logging.getLogger().setLevel("INFO")``
would show nothing. One is added after the function's module was imported: what that configured itself is kept.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    import logging
    from typing import Final


__all__ = ["current_request_id", "show_logging"]

current_request_id: Final[ContextVar[str]] = ContextVar("current_request_id", default="")
"""The invocation that runs here: of this thread, and of this task."""

#: Source: awslambdaric 4.2.2, bootstrap.py.
_FORMAT: Final = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s"
_TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%S"


def show_logging() -> None:
    """Add a handler to the root logger, if the function uses ``logging`` and has added none itself."""
    if "logging" not in sys.modules:  # importing it costs more than the rest of a cold start
        return
    import logging
    import time

    if logging.root.handlers:
        return
    formatter = logging.Formatter(_FORMAT, _TIME_FORMAT)
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    handler.addFilter(_name_request)
    logging.root.addHandler(handler)


def _name_request(line: logging.LogRecord) -> bool:
    line.aws_request_id = current_request_id.get()
    return True
