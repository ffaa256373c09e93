import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SHARE = 0.8
"""Share of the limit for the processes. The rest is for the kernel's socket buffers: a container's limit includes them.
"""


class MemoryGauge:
    """Measures how much memory this process uses. It keeps its file open, as under load no file may be free."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._page = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> int:
        """The process's resident memory, in bytes."""
        return int(os.pread(self._file, 128, 0).split()[1]) * self._page

    def close(self) -> None:
        os.close(self._file)


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The memory limit of this process's control groups (its container or unit), in bytes: the least one, if there are
    several. None if there is none. cgroup v2: https://docs.kernel.org/admin-guide/cgroup-v2.html
    """
    limits = []
    with suppress(OSError):
        paths = [line.removeprefix("0::/") for line in own.read_text().splitlines() if line.startswith("0::/")]
        for group in [group for path in paths for group in (cgroups / path, *(cgroups / path).parents)]:
            with suppress(OSError, ValueError):
                limits.append(int((group / "memory.max").read_text()))
    return min(limits, default=None)


def machine_memory() -> int:
    """The machine's memory in bytes; 0 if the system does not tell."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    return math.prod(os.sysconf(name) for name in names) if set(names) <= os.sysconf_names.keys() else 0


def memory_to_use(processes: int) -> int:
    """The bytes that each of `processes` may use: an equal share of the limit, or of the machine's memory if there is
    no limit. Each process measures only its own memory.
    """
    return round(_SHARE * (memory_limit() or machine_memory()) / processes)


@contextmanager
def memory_gauge() -> Iterator[MemoryGauge]:
    gauge = MemoryGauge()
    try:
        yield gauge
    finally:
        gauge.close()
