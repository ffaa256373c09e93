"""The configuration: what can be set, in which ranges, and by which names."""

from wg_orchestrator.settings.settings import ConnectionLimits, GateLimits, Settings

__all__ = ["ConnectionLimits", "GateLimits", "Settings"]
