"""Bad inputs, each with the service's answer. `test_bad_inputs.py` runs them."""
