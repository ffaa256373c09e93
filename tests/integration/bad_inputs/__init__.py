"""Bad inputs, each with the answer that it gets. Run by `test_bad_inputs.py`."""
