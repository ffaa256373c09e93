"""The agent's ports on Linux: netlink (rtnetlink(7)) for links, addresses and routes, and WireGuard in the kernel or by
wireguard-go.
"""
