"""Faults, one at a time, at each call that some code makes of others."""

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import pytest

Place = tuple[Any, str]
"""A class, an object or a module, and the name of what is called in it."""


class Planted(Exception):
    """A fault that a test has planted."""


class Faults:
    """The nth call of any of these places fails, counted from `arm` on: before it has had its effect, or after."""

    def __init__(self, patch: pytest.MonkeyPatch, places: Iterable[Place], *, after: bool) -> None:
        self._after = after
        self._countdown: int | None = None
        self.struck = ""
        """Where the fault was, once there was one."""
        for owner, name in places:
            patch.setattr(owner, name, self._failing(f"{owner.__name__}.{name}", getattr(owner, name)))

    def arm(self, nth: int) -> None:
        self._countdown = nth
        self.struck = ""

    def disarm(self) -> None:
        self._countdown = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Calls that are the test's own do not count."""
        countdown, self._countdown = self._countdown, None
        yield
        self._countdown = countdown

    def _failing(self, place: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def fault() -> Iterator[None]:
            is_due = self._is_due()
            if is_due and not self._after:
                self._strike(place)
            yield
            if is_due:
                self._strike(place)

        if inspect.iscoroutinefunction(call):

            @wraps(call)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with fault():
                    return await call(*args, **kwargs)

            return awaited

        @wraps(call)
        def called(*args: Any, **kwargs: Any) -> Any:
            with fault():
                return call(*args, **kwargs)

        return called

    def _is_due(self) -> bool:
        if self._countdown is None:
            return False
        self._countdown -= 1
        return self._countdown == -1

    def _strike(self, place: str) -> None:
        self.struck = place
        raise Planted(place)
