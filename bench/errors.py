class BrokenPromise(Exception):
    """A server told a member something wrong, twice, out of order, or not at all. Its figures count for nothing."""


class NotReached(Exception):
    """A server did not get as far as a workload needs within its time: a result, not a fault."""
