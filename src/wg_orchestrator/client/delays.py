import random
from collections.abc import Iterator

FIRST_RETRY_DELAY = 1.0
MAX_RETRY_DELAY = 30.0


def retry_delays() -> Iterator[float]:
    """Seconds to wait before each attempt after the first. They grow exponentially, with full jitter, so that not all
    clients of a service that has restarted come back at the same moment.
    """
    ceiling = FIRST_RETRY_DELAY
    while True:
        yield random.uniform(0, ceiling)
        ceiling = min(2 * ceiling, MAX_RETRY_DELAY)
