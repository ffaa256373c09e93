import asyncio
import sqlite3
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.builders import ACME, a_key
from tests.contracts.admission_records import AdmissionRecordsContract, Followed
from tests.grants import KEY_REVOKED, NOW, ONCE, REVOKED
from tests.unit.adapters.sqlite import holder
from wg_orchestrator.adapters.sqlite.admission_records import SqliteAdmissionRecords
from wg_orchestrator.domain.admission import Admitted
from wg_orchestrator.domain.errors import Unavailable, UsedUp
from wg_orchestrator.settings.unusable import Unusable


class TestSqliteAdmissionRecords(AdmissionRecordsContract):
    """Two that have one file open."""

    @pytest.fixture
    async def records(self, tmp_path: Path) -> AsyncIterator[SqliteAdmissionRecords]:
        records = SqliteAdmissionRecords(tmp_path / "state")
        async with records.running():
            yield records

    @pytest.fixture
    async def others(self, records: SqliteAdmissionRecords, tmp_path: Path) -> AsyncIterator[SqliteAdmissionRecords]:
        others = SqliteAdmissionRecords(tmp_path / "state")
        async with others.running():
            yield others


async def test_what_was_answered_is_there_when_the_process_was_killed(tmp_path: Path) -> None:
    command = (sys.executable, "-m", holder.__name__, str(tmp_path / "state"))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"stored\n"
    process.kill()
    await process.wait()
    records, followed = SqliteAdmissionRecords(tmp_path / "state"), Followed()
    records.follow(followed)
    assert followed.known == {REVOKED.id: REVOKED, KEY_REVOKED.id: KEY_REVOKED}
    async with records.running():
        assert await records.take(ONCE, ACME, a_key(1), NOW) == Admitted(NOW)
        with pytest.raises(UsedUp):
            await records.take(ONCE, ACME, a_key(2), NOW)


async def test_what_a_take_returns_is_later_than_what_another_process_has_revoked(tmp_path: Path) -> None:
    records, followed = SqliteAdmissionRecords(tmp_path / "state"), Followed()
    records.follow(followed)
    async with records.running():
        async with SqliteAdmissionRecords(tmp_path / "state").running():
            pass
        other = SqliteAdmissionRecords(tmp_path / "state")
        async with other.running():
            await other.revoke(REVOKED)
            await records.take(ONCE, ACME, a_key(1), NOW)
            assert followed.known == {REVOKED.id: REVOKED}


async def test_a_file_that_is_locked_for_long_is_told_and_nothing_is_stored(tmp_path: Path) -> None:
    records = SqliteAdmissionRecords(tmp_path / "state")
    records._connection.execute("PRAGMA busy_timeout = 50")
    with sqlite3.connect(tmp_path / "state", isolation_level=None) as blocking:
        async with records.running():
            blocking.execute("BEGIN IMMEDIATE")
            with pytest.raises(Unavailable):
                await records.take(ONCE, ACME, a_key(1), NOW)
            blocking.execute("COMMIT")
            assert not await records.has_admitted(ONCE.invitation)
            assert await records.take(ONCE, ACME, a_key(2), NOW) == Admitted(NOW, is_settled=False)
    blocking.close()


async def test_nothing_is_asked_of_a_file_that_is_closed(tmp_path: Path) -> None:
    records = SqliteAdmissionRecords(tmp_path / "state")
    async with records.running():
        pass
    with pytest.raises(Unavailable):
        await records.has_admitted(ONCE.invitation)


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    SqliteAdmissionRecords(tmp_path / "state")._connection.close()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["folder", "no/folder", "text", "later"])
def test_what_is_no_state_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text").write_text("not a database\n" * 100)
    with sqlite3.connect(tmp_path / "later") as later:
        later.execute("PRAGMA user_version = 99")
    later.close()
    with pytest.raises(Unusable) as refusal:
        SqliteAdmissionRecords(tmp_path / name)
    assert "\n" not in str(refusal.value)
    assert name in str(refusal.value)
