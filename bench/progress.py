import sys
import time

import click


class Progress:
    """Shows what is being done, seldom and without a thread, so that it takes no time from the measurement."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._pause = 0.5 if self._terminal else 10.0
        self._last = 0.0

    def __call__(self, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= self._pause:
            self._last = now
            click.echo(f"\r\x1b[2K{text}" if self._terminal else text, err=True, nl=not self._terminal)

    def end(self) -> None:
        if self._terminal:
            click.echo("\r\x1b[2K", err=True, nl=False)
