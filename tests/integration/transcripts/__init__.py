"""All bytes that the service sends, recorded once; each test run compares them with what it sends now.

`python -m tests.integration.transcripts` records them anew. Protocol v1 is fixed: a difference is a fault, unless it is
in the answer to a request that no v1 client sends.
"""
