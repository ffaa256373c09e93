class CannotStart(Exception):
    """What the settings ask for can't be had."""
