"""The control plane of a WireGuard network: who is in it, at which virtual IP."""

from importlib.metadata import version

__version__ = version("wg-orchestrator")
