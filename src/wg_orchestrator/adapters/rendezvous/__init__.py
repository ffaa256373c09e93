"""WireGuard's responder, as far as it takes to see who owns a key and where its packets come from (WireGuard: Next
Generation Kernel Network Tunnel, sections 5.2 to 5.4). Nothing here does I/O.
"""
