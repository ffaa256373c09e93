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
        lines = (line.decode(errors="replace") for line in self._rest())
        return {name for line in lines for name in line.partition("#")[0].split()[1:]}

    def write(self, entries: Iterable[tuple[VirtualIP, str]]) -> None:
        """Put these names in place of those of the block; without any the block is gone. Raises EnvironmentFault."""
        lines = [f"{address}\t{name}" for address, name in entries]
        block = [self._begin, *lines, self._end] if lines else []
        data = b"".join(line + b"\n" for line in [*self._rest(), *map(str.encode, block)])
        try:
            if data != self._path.read_bytes():
                self._replace(data)
        except OSError as error:
            raise EnvironmentFault(f"can't write {self._path}: {error.strerror}") from error

    def _rest(self) -> list[bytes]:
        """The lines outside of the block, as they are."""
        try:
            lines = self._path.read_bytes().removesuffix(b"\n").split(b"\n")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise EnvironmentFault(f"can't read {self._path}: {error.strerror}") from error
        begin, end = self._begin.encode(), self._end.encode()
        if begin in lines:
            first = lines.index(begin)
            last = lines.index(end, first) if end in lines[first:] else first
            del lines[first : last + 1]
        return lines if lines != [b""] else []

    def _replace(self, data: bytes) -> None:
        """Whoever reads the file sees the old one or the new one, but where it is mounted by itself, in a container."""
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
