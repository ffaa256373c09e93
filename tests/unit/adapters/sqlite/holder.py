"""A process that stores something, says so, and stands still until it is killed."""

import asyncio
import sys
from pathlib import Path

from tests.builders import ACME, a_key
from tests.grants import KEY_REVOKED, NOW, ONCE, REVOKED
from wg_orchestrator.adapters.sqlite.admission_records import SqliteAdmissionRecords


async def _hold(state: Path) -> None:
    records = SqliteAdmissionRecords(state)
    async with records.running():
        await records.take(ONCE, ACME, a_key(1), NOW)
        await records.settle(ONCE, ACME, a_key(1))
        await records.revoke(REVOKED)
        await records.revoke(KEY_REVOKED)
        sys.stdout.write("stored\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_hold(Path(sys.argv[1])))
