import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn


class SignalledServer(uvicorn.Server):
    """uvicorn that also stops on SIGHUP, and skips all waiting if two signals have come and one is SIGINT (Ctrl-C)."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told: list[int] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # The SIGINT need not be the last: signals that are pending together come in the order of their numbers.
        self._told.append(sig)
        self.force_exit = self.force_exit or (len(self._told) > 1 and signal.SIGINT in self._told)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGHUP, too: a service whose terminal is closed stops in good order. With nohup SIGHUP is ignored."""
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or signal.getsignal(signal.SIGHUP) != signal.SIG_DFL:
            with super().capture_signals():
                yield
            return
        signal.signal(signal.SIGHUP, self.handle_exit)
        try:
            with super().capture_signals():
                yield
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_DFL)
