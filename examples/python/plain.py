"""The smallest safe upload: a loop that sends chunks, over plain mode.

    python plain.py FILE ws://127.0.0.1:8080/upload/

It needs nothing but the package websockets. What is usually advised for such a
loop, and what of it is still needed with this server:

yield in dense loops      Yes: sleep(0) below. A send that finds room returns at
                          once and lets nobody else run, so a pong that has
                          arrived is not read in time. The server pauses now and
                          then behind a ping, which saves most loops that do
                          not yield; but what keeps this process busy, hashing
                          for example, only this process can interrupt.
chunks of 64 to 768 KiB   Any size works: message boundaries mean nothing, and
                          the server never waits for the disk before it reads on.
                          Below 16 KiB it is slow, since each message costs some
                          50 microseconds here. A message that is cut is sent
                          again, beyond 1 MiB its last part.
adapt chunk and           No. The server measures the line and does what can be
heartbeat to the network  done from its end. What helps a slow line is to have
                          little on its way, and for that a client needs a window:
                          wsingest.py has one. Smaller chunks alone do not help,
                          since the ping waits behind all that was sent.
bigger ping timeouts      Not for slow disks or long deliveries: this server
                          answers every ping at once. Below about 50 KiB/s the
                          default of 20 s is too short, for the reason above: the
                          connection breaks again and again. Whole messages are
                          kept, so the upload still gets there, if a message takes
                          less than 20 s; with ping_timeout=120 it breaks less.
a bound for each send     Yes, if nobody looks after it: on a line that swallows
                          everything the library's own ping waits for room behind
                          the data, and its timeout does not begin: the loop
                          would hang for ever.
retries                   Yes: no server can keep a line from breaking. They are
                          cheap here. Tries in a row that brought nothing count,
                          not those of a long night.
resume from chunks that   No. The server knows what is safe and says so: with an
were recorded             id and offset=resume the loop begins at cursor. Chunks
                          that send() took may be lost with the connection, so
                          a record of them is wrong anyway.
log level                 One line, below. At DEBUG the library writes a line for
                          each frame, from within the loop: a pipe that nobody
                          reads stops the loop and its keepalive. The server's
                          own log cannot stop it.
"""

import asyncio
import json
import logging
import os
import secrets
import sys
import urllib.parse

import websockets

CHUNK = 256 * 1024
PATIENCE = 60  # seconds that a send may wait for room
TRIES = 5  # in a row, without a byte that was new to the server

logging.getLogger("websockets").setLevel(logging.INFO)


async def within(seconds, sending):
    """asyncio.wait_for, which up to Python 3.11 forgets a Ctrl-C when it comes
    behind a send that found room: in this loop nearly every one."""
    task = asyncio.ensure_future(sending)
    done, _ = await asyncio.wait({task}, timeout=seconds)
    if not done:
        task.cancel()
        raise asyncio.TimeoutError(f"a send took longer than {seconds} s")
    task.result()


class Upload:
    def __init__(self, path, url):
        self.path, self.url = path, url
        self.id = secrets.token_urlsafe(24)
        self.cursor = self.failures = 0

    async def attempt(self):
        size = os.path.getsize(self.path)
        query = {"name": os.path.basename(self.path), "length": size, "id": self.id, "offset": "resume"}
        async with websockets.connect(f"{self.url}?{urllib.parse.urlencode(query)}", compression=None) as ws:
            ready = json.loads(await ws.recv())  # without offset=resume one may send before this
            if ready["type"] != "ready":
                return ready
            if ready["cursor"] > self.cursor:
                self.cursor, self.failures = ready["cursor"], 0
            with open(self.path, "rb") as file:
                file.seek(ready["cursor"])
                try:
                    while chunk := file.read(CHUNK):
                        await within(PATIENCE, ws.send(chunk))
                        await asyncio.sleep(0)  # lets the library read its pongs
                except asyncio.TimeoutError:
                    ws.transport.abort()  # a goodbye would wait behind the data as well
                    raise
                except websockets.ConnectionClosed:
                    pass  # recv has the server's last word, or raises the same
            while (answer := json.loads(await ws.recv()))["type"] not in ("done", "error"):
                pass  # an ack: this server sends them to those who ask
            return answer

    async def run(self):
        while True:
            try:
                answer = await self.attempt()
            except (OSError, EOFError, asyncio.TimeoutError, websockets.WebSocketException) as e:
                answer = {"type": "error", "detail": f"{type(e).__name__}: {e}", "resumable": True}
            if answer["type"] == "done":
                return answer
            self.failures += 1
            if not answer["resumable"] or self.failures == TRIES:
                sys.exit(f"{self.path}: {answer['detail']}")
            await asyncio.sleep(max(answer.get("retry-after-ms", 0) / 1000, 0.5 * 2 ** (self.failures - 1)))


if __name__ == "__main__":
    print(json.dumps(asyncio.run(Upload(*sys.argv[1:]).run())))
