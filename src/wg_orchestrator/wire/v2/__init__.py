"""Protocol v2's messages, for service and client: only this package knows their shapes. See docs/protocol-v2.md."""
