"""Measures the service beside others that do the same job, on the same machine, in the same run: `python -m bench`."""
