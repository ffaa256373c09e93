class BrokenPromise(Exception):
    """A server told a member something wrong, twice, out of order, or not at all. Its figures do not count."""


class NotReached(Exception):
    """A server did not get as far as the workload needs in its time. That is a result, not a fault."""
