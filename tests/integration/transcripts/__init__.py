"""What the service sends, byte for byte: recorded once, and compared ever after.

`python -m tests.integration.transcripts` records it anew. Protocol v1 is fixed: a difference is a fault, unless the
request that it answers is no v1 client's.
"""
