class OutboxRoom:
    """How much may be queued for a peer whose outbox is full. Sizes in bytes.

    What filled it has gone out at once, of whatever size. The peer has to take enough of that before an outbox more has
    come.
    """

    __slots__ = ("_room", "_size")

    def __init__(self, size: int, waiting: int) -> None:
        """`size` is what an outbox holds, `waiting` what waits now that it was filled."""
        self._size = size
        self._room = waiting + size

    def takes(self, waiting: int, more: int) -> bool:
        """Whether `more` may be queued while so much is `waiting`."""
        if waiting <= self._size:  # The peer has taken enough: now these may fill it.
            self._room = waiting + more + self._size
        return waiting <= self._room
