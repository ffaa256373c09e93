"""How hypothesis looks for trouble.

The same few examples each time, so that a test that passed does not fail for another reason later. With FUZZ=50 in the
environment there are fifty times as many, other ones each time; one that fails prints a `@reproduce_failure(…)` to put
above its test.
"""

import os

from hypothesis import HealthCheck, settings

_TIMES = int(os.environ.get("FUZZ", "0"))


def fuzzed(examples: int) -> settings:
    return settings(
        max_examples=examples * (_TIMES or 1),
        derandomize=not _TIMES,
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
