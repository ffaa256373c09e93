"""A SQLite file that one thread writes to, in batches."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from wg_orchestrator.domain.errors import Unavailable
from wg_orchestrator.settings.unusable import Unusable

T = TypeVar("T")

_BUSY = 5.0
"""Seconds that another process may keep the file locked: `revoke` writes to it beside the service."""
_LINGER = 0.005
"""Seconds that a request waits for others. A transaction costs about as much as a join."""
_SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS invitations (
    id TEXT NOT NULL PRIMARY KEY, tenant TEXT NOT NULL, name TEXT, uses INTEGER, used INTEGER NOT NULL,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (
    invitation TEXT NOT NULL, public_key TEXT NOT NULL, tenant TEXT NOT NULL,
    since INTEGER NOT NULL, pending INTEGER NOT NULL, is_settled INTEGER NOT NULL,
    PRIMARY KEY (invitation, public_key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revocations (
    id TEXT NOT NULL PRIMARY KEY, invitation TEXT NOT NULL, public_key TEXT, tenant TEXT,
    at INTEGER NOT NULL, until INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reports (
    revocation TEXT NOT NULL, node TEXT NOT NULL,
    put_out INTEGER NOT NULL, of INTEGER NOT NULL, by INTEGER NOT NULL, since INTEGER,
    PRIMARY KEY (revocation, node)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS holdings (
    id INTEGER NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL, address BLOB NOT NULL, since INTEGER NOT NULL, stay TEXT NOT NULL,
    public_key TEXT NOT NULL, display_name TEXT NOT NULL, until INTEGER, cause TEXT
) STRICT;
CREATE TABLE IF NOT EXISTS signs (name TEXT NOT NULL PRIMARY KEY, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
_VERSION = 1
"""Of the tables, in `PRAGMA user_version`."""


def opened(path: Path) -> sqlite3.Connection:
    """A connection to the file, with our tables in it. It is made, for its owner alone (0600), if it is not there.

    Raises Unusable.
    """
    try:
        if not path.exists():
            path.touch(mode=0o600)
        connection = sqlite3.connect(path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise Unusable(f"{path} is of a version of this program that is not known here")
            connection.executescript(_SCHEMA)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error) as error:
        raise Unusable(f"can't use the state file {path}: {_why(error)}") from error
    return connection


def _why(error: Exception) -> str:
    return str(error.strerror) if isinstance(error, OSError) else str(error)


class Database:
    """Does what it is asked for in one thread, and stores many requests that come together in one transaction.

    A request is done when it is on the disk: what has been answered survives the end of the process, whatever ends it.
    """

    def __init__(self, connection: sqlite3.Connection, before: Callable[[sqlite3.Connection], None]) -> None:
        """`before` is called in the thread, at the beginning of each transaction."""
        self._connection = connection
        self._before = before
        self._batches: queue.SimpleQueue[list[_Request] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting: list[_Request] = []
        self._due: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, args=(asyncio.get_running_loop(),), name="state", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Do what was asked for by now, and close the file."""
        if self._thread is not None:
            self._hand_over()
            self._batches.put(None)
            self._thread.join()
            self._thread = None

    async def ask(self, work: Callable[[sqlite3.Connection], T], *, linger: float = _LINGER) -> T:
        """What `work` returns, once that is stored. It waits `linger` seconds for others to be stored with.

        Raises what `work` raises before it has changed anything, and Unavailable if the file can't be used now.
        """
        if self._thread is None:
            raise Unavailable("the state file is closed")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(_Request(work, answer))
        due = loop.time() + linger
        if self._due is None or due < self._due.when():
            if self._due is not None:
                self._due.cancel()
            self._due = loop.call_at(due, self._hand_over)
        found: T = await answer
        return found

    def _hand_over(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if self._waiting:
            self._batches.put(self._waiting)
            self._waiting = []

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (requests := self._batches.get()) is not None:
            self._do(requests)
            loop.call_soon_threadsafe(_answer, requests)
        self._connection.close()

    def _do(self, requests: "list[_Request]") -> None:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._before(connection)
                for request in requests:
                    request.do(connection)
                connection.execute("COMMIT")
            except BaseException:
                connection.execute("ROLLBACK")
                raise
        except Exception as error:
            fault = Unavailable("the state file can't be used now")
            fault.__cause__ = error
            for request in requests:
                request.result, request.error = None, fault


class _Request:
    def __init__(self, work: Callable[[sqlite3.Connection], Any], answer: "asyncio.Future[Any]") -> None:
        self.work = work
        self.answer = answer
        self.result: Any = None
        self.error: BaseException | None = None

    def do(self, connection: sqlite3.Connection) -> None:
        """Raises sqlite3.Error: then the whole batch is undone. What else the work raises is its own."""
        try:
            self.result = self.work(connection)
        except sqlite3.Error:
            raise
        except Exception as error:
            self.error = error


def _answer(requests: list[_Request]) -> None:
    for request in requests:
        if request.answer.done():
            continue  # Nobody waits for it any more.
        if request.error is not None:
            request.answer.set_exception(request.error)
        else:
            request.answer.set_result(request.result)
