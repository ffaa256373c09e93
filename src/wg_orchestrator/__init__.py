"""The control plane of a WireGuard network: who is in it, at which virtual IP."""


def __getattr__(name: str) -> str:
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # It takes longer to load than all else that is needed before the first signal can be heeded.
    from importlib.metadata import version

    return version("wg-orchestrator")
