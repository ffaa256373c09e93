import asyncio

from tests.integration.transcripts.recording import record, save

if __name__ == "__main__":
    save(asyncio.run(record()))
