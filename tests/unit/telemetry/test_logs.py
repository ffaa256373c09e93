import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from wg_orchestrator.telemetry.logs import configure_logging


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root, uvicorn = logging.root, logging.getLogger("uvicorn.error")
    before = root.handlers[:], root.level, uvicorn.level
    yield
    root.handlers[:], uvicorn.level = before[0], before[2]
    root.setLevel(before[1])
    structlog.reset_defaults()


def test_a_json_line_holds_what_was_said_and_nothing_forges_another(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.get_logger("x").info("joined", name='a"\n{"event": "forged"}')
    logging.getLogger("library").warning("hello")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["joined", "hello"]
    assert lines[0]["name"] == 'a"\n{"event": "forged"}'
    assert lines[0]["level"] == "info"


def test_console_lines_are_not_broken_by_what_a_client_sent(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "console")
    structlog.get_logger("x").info("joined", name="a\nb\x1b[31m")
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert "\x1b" not in output


def test_what_is_below_the_level_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("warning", "json")
    structlog.get_logger("x").info("joined")
    logging.getLogger("uvicorn.error").info("started")
    assert capsys.readouterr().err == ""
