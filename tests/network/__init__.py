"""Agents on machines of their own, in network namespaces: every test ends in packets through real tunnels."""
