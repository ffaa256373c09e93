import re
from typing import Any

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_LONGEST = 100 * 366 * 86_400


class Duration(click.ParamType[int]):
    """Seconds, written as a number and `s`, `m`, `h` or `d`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = re.fullmatch(r"([0-9]{1,12})([smhd])", str(value), re.ASCII)
        seconds = int(found[1]) * _SECONDS[found[2]] if found else 0
        if not 1 <= seconds <= _LONGEST:
            self.fail("a duration is a number and s, m, h or d, as 30d, and at most a hundred years", param, ctx)
        return seconds
