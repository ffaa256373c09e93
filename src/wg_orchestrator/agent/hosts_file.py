import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.domain.peer import VirtualIP

HOSTS = Path("/etc/hosts")


class HostsFile:
    """The part of a hosts file that belongs to one interface: a block between two marks. The rest is never changed."""

    def __init__(self, interface: str, path: Path = HOSTS) -> None:
        self._path = path.resolve()  # It may be a link, which stays one.
        self._begin = f"# {interface}: by wg-orchestrator, taken out when it ends"
        self._end = f"# {interface}: end"

    def known(self) -> set[str]:
        """The names that stand outside of the block. Raises EnvironmentFault."""
        return {name for line in self._rest() for name in line.partition("#")[0].split()[1:]}

    def write(self, entries: Iterable[tuple[VirtualIP, str]]) -> None:
        """Put these names in place of those of the block; without any the block is gone. Raises EnvironmentFault."""
        lines = [f"{address}\t{name}" for address, name in entries]
        block = [self._begin, *lines, self._end] if lines else []
        text = "".join(f"{line}\n" for line in [*self._rest(), *block])
        try:
            if text != self._path.read_text(errors="surrogateescape"):
                self._replace(text)
        except OSError as error:
            raise EnvironmentFault(f"can't write {self._path}: {error.strerror}") from error

    def _rest(self) -> list[str]:
        try:
            lines = self._path.read_text(errors="surrogateescape").splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EnvironmentFault(f"can't read {self._path}: {error.strerror}") from error
        if self._begin in lines:
            first = lines.index(self._begin)
            last = lines.index(self._end, first) if self._end in lines[first:] else first
            del lines[first : last + 1]
        return lines

    def _replace(self, text: str) -> None:
        """Whoever reads the file sees the old one or the new one, but where it is mounted by itself, in a container."""
        data = text.encode(errors="surrogateescape")
        try:
            descriptor, name = tempfile.mkstemp(prefix=".hosts-", dir=self._path.parent)
        except PermissionError:
            self._path.write_bytes(data)
            return
        new = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                if self._path.exists():
                    status = self._path.stat()
                    os.fchmod(file.fileno(), status.st_mode & 0o7777)
                    os.fchown(file.fileno(), status.st_uid, status.st_gid)
                else:
                    os.fchmod(file.fileno(), 0o644)
            new.replace(self._path)
        except OSError as error:
            new.unlink(missing_ok=True)
            if error.errno != errno.EBUSY:
                raise
            self._path.write_bytes(data)
