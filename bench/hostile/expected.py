NOT_BOUNDED_YET = frozenset({"stalled", "half-open", "heads", "dribble"})
"""Scenarios in which the service does not end a hostile connection for what it does: that of "stalled" only since it
answers no ping. To be emptied as the service comes to bound them; what then stays open breaks a promise.
"""
