class Unusable(Exception):
    """Something that the settings name can't be used. Says what, and why."""
