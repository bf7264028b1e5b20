"""Sends a file over a WebSocket with the package websockets and nothing else:
plain.py URL FILE BYTES_PER_SECOND [SECONDS]. With SECONDS it pauses for so long
in the middle. Prints the server's last word."""
import asyncio, os, sys, time
import websockets
from websockets.exceptions import InvalidMessage

async def connect(url):
    # A connection that meets a Caddy in the middle of a reload may be closed
    # before its handshake is answered.
    for attempt in range(100):
        try:
            return await websockets.connect(url, max_size=None)
        except (OSError, InvalidMessage):
            if attempt == 99:
                raise
            await asyncio.sleep(0.1)

async def main(url, path, rate, pause=0.0):
    size = os.path.getsize(path)
    ws = await connect(f"{url}?length={size}")
    begun, sent = time.monotonic(), 0
    with open(path, "rb") as f:
        while chunk := f.read(256 << 10):
            await ws.send(chunk)
            sent += len(chunk)
            if pause and sent >= size / 2:
                await asyncio.sleep(pause)
                pause = 0
            await asyncio.sleep(max(0, begun + sent / rate - time.monotonic()))
    ready = await ws.recv()
    assert '"type":"ready"' in ready, ready
    print(await ws.recv())
    await ws.close()

asyncio.run(main(sys.argv[1], sys.argv[2], *map(float, sys.argv[3:])))
