"""What can be wrong with a message, for both ends and all versions."""


class MalformedJoin(Exception):
    """The client's first message has not the shape of a join, or names a key twice."""


class MalformedMessage(Exception):
    """A later message of a client has not the shape of one, or names a key twice. v1 ignores those."""


class BadMessage(ValueError):
    """The service does not speak the protocol, or contradicts itself. To come back would not change that."""
