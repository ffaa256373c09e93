import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import uvicorn


class SignalledServer(uvicorn.Server):
    """uvicorn that heeds SIGHUP too, and a Ctrl-C after any other signal: that one skips all waiting."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told: list[int] = []

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # Those that come at once are told in the order of their numbers, whichever was first.
        self._told.append(sig)
        self.force_exit = self.force_exit or (len(self._told) > 1 and signal.SIGINT in self._told)
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Besides uvicorn's, SIGHUP: whose terminal is closed says goodbye to its peers. With nohup it is ignored."""
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
