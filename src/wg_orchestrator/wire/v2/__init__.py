"""Protocol v2 on the wire, for both ends: the only place that knows the messages' shapes. See docs/protocol-v2.md."""
