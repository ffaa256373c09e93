import fcntl
import json
import os
import stat
from ipaddress import ip_address
from pathlib import Path

from wg_orchestrator.agent.errors import EnvironmentFault
from wg_orchestrator.client.keys import KeyPair
from wg_orchestrator.domain.peer import VirtualIP

_OTHERS = 0o077
_SUFFIXES = {".key", ".lock", ".new", ".session", ".sock"}


class StateDir:
    """What an agent keeps on this machine for one interface: its private key, its session, its lock, its socket.

    The directory is for its owner alone (0700), and so are the files (0600). If the directory or the key is open to
    others, it is closed to them; if it belongs to another user, it is not used.
    """

    def __init__(self, path: Path, interface: str) -> None:
        self._path = path
        self._interface = interface
        self._lock: int | None = None

    @property
    def socket(self) -> Path:
        """Where a running agent listens."""
        return self._path / f"{self._interface}.sock"

    def open(self) -> None:
        """Make it if it is not there, and hold its lock until the process ends. Raises EnvironmentFault."""
        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._require_own()
            self._close_to_others(self._path)
            descriptor = os.open(self._file("lock"), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise self._fault("use", error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise EnvironmentFault(f"an agent runs for {self._interface} already") from error
        self._lock = descriptor

    def key_pair(self) -> KeyPair:
        """The machine's keys, which are made once. Raises EnvironmentFault."""
        path = self._file("key")
        try:
            self._close_to_others(path)
            return KeyPair.of(path.read_text().strip())
        except FileNotFoundError:
            pair = KeyPair.generate()
        except ValueError as error:
            raise EnvironmentFault(f"{path} has no private key in it") from error
        except OSError as error:
            raise self._fault("read the private key in", error) from error
        self._write(path, pair.private + "\n")
        return pair

    def session(self, url: str) -> tuple[str, VirtualIP | None]:
        """The session with the tenant at `url` and the address in it; "" and None if there is none.

        A file that can't be understood is as good as none: the machine then joins anew.
        """
        try:
            kept = json.loads(self._file("session").read_text())
            if kept["url"] != url:
                return "", None
            return str(kept["session"]), ip_address(kept["virtual_ip"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", None

    def keep_session(self, url: str, session: str, virtual_ip: VirtualIP | None) -> None:
        """Raises EnvironmentFault."""
        kept = {"url": url, "session": session, "virtual_ip": str(virtual_ip)}
        self._write(self._file("session"), json.dumps(kept) + "\n")

    def forget_session(self) -> None:
        """The machine has left: there is nothing to come back to. Its address is still the one it would like."""
        try:
            kept = json.loads(self._file("session").read_text())
            self._write(self._file("session"), json.dumps({**kept, "session": ""}) + "\n")
        except (OSError, ValueError, TypeError):
            self._file("session").unlink(missing_ok=True)

    def _write(self, path: Path, text: str) -> None:
        """Whoever reads the file, now or after a crash, finds the old text or the new one."""
        new = path.with_name(path.name + ".new")
        try:
            new.unlink(missing_ok=True)
            descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        except OSError as error:
            raise self._fault("write to", error) from error

    def _require_own(self) -> None:
        """A directory with other things in it is not ours to close to others: `/etc`, for instance.

        Raises EnvironmentFault or OSError.
        """
        is_open = self._path.stat().st_mode & _OTHERS
        if is_open and any(path.suffix not in _SUFFIXES for path in self._path.iterdir()):
            raise EnvironmentFault(
                f"{self._path} is open to others and has other files in it: name a directory of its own"
            )

    def _close_to_others(self, path: Path) -> None:
        """Raises EnvironmentFault or OSError."""
        status = path.stat()
        if status.st_uid != os.geteuid():
            raise EnvironmentFault(f"{path} belongs to another user")
        if status.st_mode & _OTHERS:
            path.chmod(stat.S_IMODE(status.st_mode) & ~_OTHERS)

    def _file(self, name: str) -> Path:
        return self._path / f"{self._interface}.{name}"

    def _fault(self, what: str, error: OSError) -> EnvironmentFault:
        return EnvironmentFault(f"can't {what} the state directory {self._path}: {error.strerror}")
