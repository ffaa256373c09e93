"""What the tests and the benchmarks share: real services, real NATS servers, and clients for them."""
