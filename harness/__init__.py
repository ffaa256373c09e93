"""Code that the tests and the benchmarks share: it runs real services and NATS servers, and has clients for them."""
