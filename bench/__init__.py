"""Measures the service and other servers that do the same job, on one machine, in one run: `python -m bench`."""
