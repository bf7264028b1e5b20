"""The smallest safe upload: a loop that sends chunks, over plain mode.

    python plain.py FILE ws://127.0.0.1:8080/upload/

It needs nothing but the package websockets. What is usually advised for such a
loop, and what of it is still needed with this server:

yield in dense loops      Yes. A send that finds room in the buffer returns at
                          once and lets nobody else run, so the pong that has
                          arrived is not read: with a ping timeout of 0.5 s a
                          dense loop was late by 0.65 to 0.9 s, this one by 0.2 s.
                          It happens in this process; no server can mend it.
chunks of 64 to 768 KiB   Any size works: message boundaries mean nothing, and
                          the server never waits for the disk before it reads on.
                          Below 16 KiB it is slow, since each message costs some
                          50 microseconds here. Beyond 1 MiB a message that is cut
                          is sent again.
bigger ping timeouts      Not for slow disks or long deliveries: this server
                          answers every ping at once. On a slow line, yes: without
                          a window the ping waits behind the data, some megabytes
                          of it. Below about 50 KiB/s use wsingest.py, which has
                          a window.
resume from chunks that   No. The server knows what is safe and says so: with an
were recorded             id and offset=resume the loop begins at cursor. Chunks
                          that send() took may be lost with the connection, so
                          a record of them is wrong anyway.
log level                 Only here. A DEBUG log of websockets into a pipe that
                          nobody reads stops this loop and its keepalive. The
                          server's own log cannot stop it.
"""

import asyncio
import json
import os
import secrets
import sys
import urllib.parse

import websockets

CHUNK = 256 * 1024
TRIES = 5


async def attempt(path, url, upload_id):
    query = {"name": os.path.basename(path), "length": os.path.getsize(path), "id": upload_id, "offset": "resume"}
    async with websockets.connect(f"{url}?{urllib.parse.urlencode(query)}", compression=None) as ws:
        ready = json.loads(await ws.recv())  # without offset=resume one may send before this
        if ready["type"] != "ready":
            return ready
        with open(path, "rb") as file:
            file.seek(ready["cursor"])
            while chunk := file.read(CHUNK):
                await ws.send(chunk)
                await asyncio.sleep(0)  # lets the library read its pongs
        return json.loads(await ws.recv())  # done, or error


async def put(path, url):
    upload_id = secrets.token_urlsafe(24)
    for n in range(TRIES):
        try:
            answer = await attempt(path, url, upload_id)
        except (OSError, EOFError, asyncio.TimeoutError, websockets.WebSocketException) as e:
            answer = {"type": "error", "detail": f"{type(e).__name__}: {e}", "resumable": True}
        if answer["type"] == "done":
            return answer
        if not answer["resumable"] or n == TRIES - 1:
            sys.exit(f"{path}: {answer['detail']}")
        await asyncio.sleep(max(answer.get("retry-after-ms", 0) / 1000, 0.5 * 2**n))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(put(*sys.argv[1:]))))
