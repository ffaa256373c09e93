import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SHARE = 0.8
"""Of what a container may use, the kernel's buffers for its connections take a part."""


class MemoryGauge:
    """How much memory this process uses. Its file stays open: there may be no other to be had when it matters."""

    def __init__(self) -> None:
        self._file = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._page = os.sysconf("SC_PAGE_SIZE")

    def read(self) -> int:
        """Resident bytes."""
        return int(os.pread(self._file, 128, 0).split()[1]) * self._page

    def close(self) -> None:
        os.close(self._file)


def memory_limit(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The bytes that the control groups of this process, a container or a unit, may use at the most (cgroup v2:
    https://docs.kernel.org/admin-guide/cgroup-v2.html); None if there is no limit.
    """
    limits = []
    with suppress(OSError):
        paths = [line.removeprefix("0::/") for line in own.read_text().splitlines() if line.startswith("0::/")]
        for group in [group for path in paths for group in (cgroups / path, *(cgroups / path).parents)]:
            with suppress(OSError, ValueError):
                limits.append(int((group / "memory.max").read_text()))
    return min(limits, default=None)


def machine_memory() -> int:
    """The bytes of memory that the machine has; 0 if it does not say."""
    names = ("SC_PHYS_PAGES", "SC_PAGE_SIZE")
    return math.prod(os.sysconf(name) for name in names) if set(names) <= os.sysconf_names.keys() else 0


def memory_to_use(processes: int) -> int:
    """The bytes that one of so many processes may come to use, as each sees only its own: its share of the limit, or of
    the machine's memory if there is none.
    """
    return round(_SHARE * (memory_limit() or machine_memory()) / processes)


@contextmanager
def memory_gauge() -> Iterator[MemoryGauge]:
    gauge = MemoryGauge()
    try:
        yield gauge
    finally:
        gauge.close()
