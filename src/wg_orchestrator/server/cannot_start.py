class CannotStart(Exception):
    """The service can't start with its settings. The message says why."""
