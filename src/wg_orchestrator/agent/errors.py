class EnvironmentFault(Exception):
    """The machine does not let the agent do what it is for: a right, a port, an interface, a file. Says which."""


class InterfaceLost(EnvironmentFault):
    """The interface is not there any more."""


class NotRunning(Exception):
    """No agent runs for this interface."""
