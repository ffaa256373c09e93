"""A peer's machine: what `wg-orchestrator up` is made of. It makes a WireGuard interface be as its tenant is.

The core says what the interface should be like, and waits for nothing: `wishes`, `plan`, `paths`, `host_names`. It
reaches the world by the ports in `ports`; `linux/` has the adapters for Linux. `agent` brings them together.
"""
