"""What can be wrong with a message, of the service or of a client, in any version."""


class MalformedJoin(Exception):
    """The client's first message does not have the shape of a join, or an object in it has a key twice."""


class MalformedMessage(Exception):
    """A later message of a v2 client has no known shape, or an object in it has a key twice. v1 ignores later texts."""


class BadMessage(ValueError):
    """The service breaks the protocol, or its messages contradict each other. Another connection would not help."""
