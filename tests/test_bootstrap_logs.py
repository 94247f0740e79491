"""Where a handler's ``logging`` goes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.bootstrap_parts import ScriptedService, invocation, running

USUAL = """
import logging
logger = logging.getLogger()
logger.setLevel("INFO")
def handler(event, context):
    logger.info("seen %s", event)
"""
OWN = """
import logging
logging.basicConfig(level="INFO", format="own: %(message)s")
def handler(event, context):
    logging.info("seen")
"""
ASYNC = """
import logging
logging.getLogger().setLevel("INFO")
async def handler(event, context):
    logging.info("seen")
"""


def logged(code: str, directory: Path) -> tuple[str, str]:
    with ScriptedService(invocation(1, request_id="id-7")) as service, running(service, code, directory) as process:
        assert service.idle.wait(20)
        process.terminate()
        return process.communicate(timeout=20)


@pytest.mark.parametrize("code", [USUAL, ASYNC])
def test_the_usual_idiom_shows_lines_as_awss_client_does(code: str, tmp_path: Path) -> None:
    """Level, time and request id, divided by tabs: what people's log queries read."""
    out, err = logged(code, tmp_path)
    assert re.fullmatch(r"\[INFO\]\t\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\tid-7\tseen( 1)?\n", out), out
    assert err == ""


def test_what_the_function_configured_is_kept(tmp_path: Path) -> None:
    """No line twice, and none in a format that nobody asked for."""
    assert logged(OWN, tmp_path) == ("", "own: seen\n")


def test_a_function_that_does_not_log_does_not_pay(tmp_path: Path) -> None:
    """``logging`` is not imported for its sake."""
    code = "import sys\ndef handler(event, context): print('logging' in sys.modules)\n"
    assert logged(code, tmp_path) == ("False\n", "")
