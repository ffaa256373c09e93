"""Protocol v1 stays the same to the byte, however the code changes: see `transcripts`."""

import re
from pathlib import Path

from tests.integration.transcripts.recording import Transcripts, of_bad_inputs, of_sessions, saved

PROTOCOL = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()


def differences(transcripts: Transcripts) -> Transcripts:
    recorded = saved()
    return {name: heard for name, heard in transcripts.items() if heard != recorded.get(name)}


async def test_the_service_sends_in_each_session_what_was_recorded() -> None:
    assert differences(await of_sessions()) == {}


async def test_the_service_answers_each_bad_input_as_was_recorded() -> None:
    assert differences(await of_bad_inputs()) == {}


def test_each_close_code_of_the_protocol_was_recorded() -> None:
    rows = re.findall(r"^\| (\d{4}) \| ([a-z0-9 -]+) \|", PROTOCOL, re.MULTILINE)
    assert len(rows) > 10
    heard = "".join("".join(each) for each in saved().values())
    # What admission says was not there when they were recorded: test_invitations.py and test_operators.py hear it.
    rows = [row for row in rows if row[1] not in ("revoked", "used up", "stay over", "put out")]
    assert [row for row in rows if int(row[0]).to_bytes(2, "big").decode("latin-1") + row[1] not in heard] == []
