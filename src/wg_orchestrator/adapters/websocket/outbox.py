class OutboxRoom:
    """Says how much may be queued for a peer whose outbox is full. Sizes in bytes.

    The notices that filled the outbox were queued whatever their size. The peer must read enough of them before as much
    as an outbox holds has come on top.
    """

    __slots__ = ("_room", "_size")

    def __init__(self, size: int, waiting: int) -> None:
        """`size` is what an outbox holds. `waiting` is what waits for the peer now."""
        self._size = size
        self._room = waiting + size

    def takes(self, waiting: int, more: int) -> bool:
        """Whether `more` bytes may be queued while `waiting` bytes wait."""
        if waiting <= self._size:  # The peer has read enough: these may fill the outbox anew.
            self._room = waiting + more + self._size
        return waiting <= self._room
