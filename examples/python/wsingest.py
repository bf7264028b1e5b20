"""Uploads files to a wsingest server over WebSocket, and goes on where it was.

    result = await wsingest.upload_file("video.mp4", "wss://example.org/upload/")

When it returns, every byte is on the server's stable storage, both ends have
compared checksums, and whoever the server hands the file to has taken it.
Connections that break, stall, or end because the server restarts are replaced
without the caller noticing. With a state directory another process goes on
where this one ended, having made sure that the file is still the same.

On the command line: python -m wsingest FILE... URL
"""

import asyncio
import base64
import hashlib
import inspect
import json
import math
import os
import random
import secrets
import socket
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Optional

from wsingest_link import (
    Broken, Goaway, Link, ProtocolError, Refused, ServerError, Stalled, UploadError,
)
from wsingest_source import File, SourceChanged, Stream

__all__ = [
    "Broken", "DigestMismatch", "File", "GaveUp", "Options", "Progress", "ProtocolError", "Refused", "Result",
    "ServerError", "SourceChanged", "Stalled", "Stream", "UploadError", "upload", "upload_file",
]

FIRST_CHUNK = 256 << 10
MAX_CHUNK = 1 << 20  # a message of up to 1 MiB that is cut is forgotten whole
LEAST_FOR_LANES = 16 << 20
LEAST_PIECE, FIRST_PIECE = 1 << 20, 4 << 20
QUICK, SLOW = 2, 8  # seconds; a piece that took less is followed by a larger one, and the other way round
MOST_REFILLS = 8
LATE = 60  # seconds, for how long the server may come to what was sent on a connection that broke


class DigestMismatch(UploadError):
    """The server's bytes are not those that were read here."""


class GaveUp(UploadError):
    """No progress for as long as Options.give_up_after, or max_tries."""

    resumable = True


@dataclass
class Progress:
    sent: int = 0
    received: int = 0  # taken in by the server
    durable: int = 0  # on its stable storage: never to be sent again
    total: Optional[int] = None
    waiting_for_space: bool = False  # the server has no room now, and goes on by itself


@dataclass
class Options:
    """How to upload. All has a default."""

    id: Optional[str] = None  # of your own making: 22 to 64 of A-Z a-z 0-9 _ -, hard to guess
    name: Optional[str] = None
    media_type: Optional[str] = None
    metadata: Optional[dict] = None
    ticket: Any = None  # a grant, or a function of the id that is asked before each opening; it may be async
    headers: dict = field(default_factory=dict)  # of the handshake
    tls: Any = None  # an ssl.SSLContext
    sha256: bool = False  # compare and return the SHA-256
    lanes: int = 1  # connections for one large file, 1 to 16
    state_dir: Optional[str] = None  # None: another process cannot go on
    give_up_after: float = 900  # seconds without progress; negative: never
    max_tries: int = 0  # failures in a row without progress; 0: unbounded
    min_delay: float = 0.25
    max_delay: float = 30
    on_progress: Optional[Callable[[Progress], None]] = None
    on_retry: Optional[Callable[[Exception, float], None]] = None


@dataclass
class Result:
    id: str
    length: int
    crc32c: int
    sha256: Optional[bytes] = None
    location: Optional[str] = None
    response: Optional[dict] = None
    resumed_from: int = 0
    reconnects: int = 0


class State:
    """A small file that remembers the id of an upload until it is done. How far
    the upload is, the server knows."""

    def __init__(self, directory, url, source):
        key = hashlib.sha256(f"{url}\0{source.path}".encode()).hexdigest()[:32]
        self.path = os.path.join(directory, key + ".json")
        self._now = {"version": 1, "url": url, "path": source.path, "size": source.size,
                     "fingerprint": source.fingerprint()}

    def recall(self):
        """The id to go on with, if there is one."""
        try:
            with open(self.path, encoding="utf-8") as file:
                text = file.read()
        except FileNotFoundError:
            return None
        if not text:
            return None  # the machine went down before it was on the disk
        try:
            old = json.loads(text)
            if any(old[k] != self._now[k] for k in ("size", "fingerprint")):
                self.remove()
                raise SourceChanged(f"{self._now['path']} has changed since its upload began")
            return old["id"]
        except (ValueError, KeyError, TypeError):
            raise UploadError(f"state file {self.path} cannot be read (remove it to upload anew)") from None

    def save(self, upload_id):
        os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
        temporary = f"{self.path}.{os.getpid()}.tmp"
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump({"id": upload_id, **self._now}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self.path)

    def remove(self):
        try:
            os.remove(self.path)
        except FileNotFoundError:
            pass


class Retry:
    """How the end of a connection is taken: is it final, and how long to wait."""

    def __init__(self, options, progress):
        self._o = options
        self._progress = progress
        self._seen = None
        self._connected = False
        self._broke = -math.inf  # when a connection did, of which nobody has heard since
        self._restart()

    def _restart(self):
        self._tries, self._since, self._delay = 0, time.monotonic(), self._o.min_delay

    def connected(self):
        self._connected = True

    def _own_echo(self, error):
        """Whether it was a connection of our own that took over: the server came
        late to what was sent on one that broke (section 8 of PROTOCOL.md)."""
        if getattr(error, "code", None) != "superseded" or time.monotonic() - self._broke > LATE:
            return False
        self._broke = -math.inf
        return True

    def pause(self, error):
        """Seconds until the next attempt; raises what to end with."""
        seen = (self._progress.received, self._progress.durable)
        if seen != self._seen:
            self._seen = seen
            self._restart()
        if not isinstance(error, Broken) or getattr(error, "final", not error.resumable):
            if not self._own_echo(error):
                raise error
        elif not isinstance(error, ServerError) and self._connected:
            self._broke = time.monotonic()
        cause = error.__cause__
        if not self._connected and isinstance(cause, socket.gaierror) and cause.errno == socket.EAI_NONAME:
            raise error
        if error.retry_after is not None:
            # Not all clients of a server that restarts come back at once.
            pause = error.retry_after + random.uniform(0, error.retry_after / 10 + self._o.min_delay)
        else:
            self._tries += 1
            pause = self._delay * random.uniform(0.5, 1.5)
            self._delay = min(self._delay * 2, self._o.max_delay)
        if self._o.max_tries and self._tries >= self._o.max_tries:
            raise GaveUp(f"gave up after {self._tries} tries: {error}") from error
        waited = time.monotonic() - self._since
        if 0 <= self._o.give_up_after < waited + pause:
            raise GaveUp(f"gave up, there was no progress for {waited:.0f} s: {error}") from error
        if self._o.on_retry:
            self._o.on_retry(error, pause)
        return pause


class Flow:
    """One opening of the upload on one connection: where it is, and how far it
    may go (section 7 of PROTOCOL.md)."""

    def __init__(self):
        self.ready = None
        self.start = 0  # of the lane
        self.position = self.received = self.durable = 0
        self.window, self.chunk, self.limits = 0, FIRST_CHUNK, {}
        self.waiting_for_space = False

    def on_ready(self, message):
        self.ready = message
        self.position = self.received = message["cursor"]
        self.durable = min(message["offset"], message["cursor"])
        self.limits = message["limits"]
        self._grant(message)

    def on_ack(self, message):
        # With a state it is a heartbeat, and says nothing about credit.
        self.waiting_for_space = message.get("state") == "waiting-for-space"
        if self.ready is None or message.get("state") is not None:
            return
        self.received = max(self.received, min(message["received"], self.position))
        self.durable = max(self.durable, min(message["offset"], self.position))
        self._grant(message)

    def _grant(self, message):
        self.window, self.chunk = message["window"], message["chunk"] or FIRST_CHUNK

    def may_send(self, left):
        """The bytes to put into the next message. 0 rather than a splinter, as
        long as more credit is to be expected."""
        want = min(max(self.chunk, self.least()), MAX_CHUNK, self.limits.get("max-append-size") or MAX_CHUNK, left)
        credit = self.received + self.window - self.position
        if credit >= want:
            return want
        return max(credit, 0) if self.position == self.received else 0

    def least(self):
        return self.limits.get("min-append-size") or 1


class Upload:
    """One upload on its way, over however many connections."""

    def __init__(self, source, url, options):
        self.source = source
        self.options = options
        self.url = "ws" + url[4:] if url.startswith("http") else url
        self.progress = Progress(total=source.size)
        self.state = None
        self.id = options.id
        self.done = None
        self.reconnects = -1
        self.resumed_from = 0
        self._proven = False
        self._finished = None  # the digests that went out with finish
        self._lanes_received = {}
        self._base = 0  # bytes that are not a lane's at the moment

    def prepare(self):
        if self.options.state_dir and self.source.path:
            self.state = State(self.options.state_dir, self.url, self.source)
            self.id = self.id or self.state.recall()
        self.id = self.id or secrets.token_urlsafe(24)
        if self.state:
            self.state.save(self.id)

    async def run(self):
        self.prepare()
        try:
            refills = 0
            missing = None
            while self.done is None:
                if missing:
                    refills += 1
                    if refills > MOST_REFILLS:
                        raise GaveUp(f"gave up, the server lost bytes {refills} times")
                    await self._fill(missing)
                missing = await self._retrying(lambda retry: self._connect(retry, self._whole))
            result = await self._verify()
        except Exception as e:
            if self.state and _spent(e):
                self.state.remove()
            raise
        if self.state:
            self.state.remove()
        return result

    async def _retrying(self, attempt):
        retry = Retry(self.options, self.progress)
        while True:
            try:
                return await attempt(retry)
            except Broken as e:
                if self.done is not None:
                    return None
                await asyncio.sleep(retry.pause(e))

    async def _connect(self, retry, use):
        """Makes one connection, uses it, and takes leave."""
        flow = Flow()
        link = await Link.dial(self.url, lambda m: self._handle(link, flow, m), self.options.headers, self.options.tls)
        retry.connected()
        self.reconnects += 1
        try:
            return await use(link, flow)
        finally:
            await link.close()

    def _handle(self, link, flow, message):
        kind = message["type"]
        if kind == "goaway":
            after = message.get("retry-after-ms")
            link.fail(Goaway(after / 1000 if after else None))
        elif kind == "error":
            link.fail(_error(message))
        elif message["id"] == self.id:
            if kind == "done":
                self.done = message
            elif kind == "ready":
                flow.on_ready(message)
            else:
                flow.on_ack(message)
            self._report(flow)

    def _report(self, flow):
        if flow.ready is not None:
            self.source.release(flow.durable)
        p = self.progress
        p.received = max(p.received, self._received(flow))
        p.durable = max(p.durable, flow.durable)
        p.waiting_for_space = flow.waiting_for_space
        if self.options.on_progress:
            self.options.on_progress(p)

    def _received(self, flow):
        if flow in self._lanes_received:
            self._lanes_received[flow] = flow.received
            return self._base + sum(f.received - f.start for f in self._lanes_received if f.ready)
        return flow.received

    async def _ticket(self):
        ticket = self.options.ticket
        if callable(ticket):
            ticket = ticket(self.id)
        return await ticket if inspect.isawaitable(ticket) else ticket

    async def _open(self, link, flow, lane=None):
        o = self.options
        await link.send({
            "type": "open", "id": self.id, "name": o.name or self.source.name, "media-type": o.media_type,
            "length": self.source.size, "metadata": o.metadata, "ticket": await self._ticket(), "range": lane,
            "want-digest": "sha-256" if o.sha256 else None,
            "ping-timeout-ms": -1,  # no ping of ours bounds the window
        })
        while flow.ready is None and self.done is None:
            await link.wait()
        return flow.ready

    async def _whole(self, link, flow):
        """Sends all that is missing and hears the answer. Returns what lanes
        should bring in first, if anything."""
        ready = await self._open(link, flow)
        await self._begin(ready)
        if not ready.get("complete"):
            missing = self._for_lanes(ready)
            if missing:
                return missing
            await self._stream(link, flow, self.source.size)
            await self._finish(link)
        while self.done is None:
            await link.wait()
        return None

    async def _begin(self, ready):
        """Before the first byte: is the source what the server has?"""
        if self._proven:
            return
        have = [(h["range"][0], h["range"][1], int.from_bytes(base64.b64decode(h["crc32c"]), "big"))
                for h in ready["have"]]
        self.resumed_from = sum(end - start for start, end, _ in have)
        if not ready.get("complete"):
            await self.source.prove(have)
        self._proven = True

    def _for_lanes(self, ready):
        if not isinstance(self.source, File):
            return None
        missing = [(start, self.source.size if end is None else end) for start, end in ready["missing"]]
        size = sum(end - start for start, end in missing)
        # Holes are filled by lanes in any case: what lies between is durable.
        if len(missing) > 1 or self.options.lanes > 1 and size >= LEAST_FOR_LANES:
            return missing
        return None

    async def _stream(self, link, flow, end):
        """Sends from the cursor to the end, as far as credit goes at a time."""
        while self.done is None:
            left = MAX_CHUNK if end is None else end - flow.position
            if left <= 0:
                return
            n = flow.may_send(left)
            if n == 0:
                await link.wait()
                continue
            data = await self._read(link, flow, n)
            if not data:
                return
            flow.position += len(data)
            await link.send(data)
            self.progress.sent = max(self.progress.sent, flow.position)
            # There are messages to read. A send that finds room never lets go.
            await asyncio.sleep(0)

    async def _read(self, link, flow, n):
        """Bytes of the source, unless the connection ends while they are waited
        for: a stream may have nothing to say for long."""
        reading = asyncio.ensure_future(self.source.read(flow.position, n, flow.least()))
        ended = asyncio.ensure_future(link.ended.wait())
        try:
            await asyncio.wait({reading, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                raise link.error
            return reading.result()
        finally:
            reading.cancel()
            ended.cancel()

    async def _finish(self, link):
        length, crc, sha = await self.source.digests()
        self._finished = (length, crc, sha)
        digest = {"crc32c": base64.b64encode(crc.to_bytes(4, "big")).decode()}
        if sha:
            digest["sha-256"] = base64.b64encode(sha).decode()
        await link.send({"type": "finish", "length": length, "digest": digest})

    async def _fill(self, missing):
        """Brings in what is missing over lanes, each a range at a time."""
        self._base = self.source.size - _size(missing)
        self._lanes_received = {}
        lanes = [asyncio.ensure_future(self._lane(missing)) for _ in range(self.options.lanes)]
        try:
            await asyncio.gather(*lanes)
        finally:
            for lane in lanes:
                lane.cancel()
            await asyncio.gather(*lanes, return_exceptions=True)

    async def _lane(self, missing):
        want = FIRST_PIECE
        piece = self._take(missing, want)
        began = time.monotonic()

        async def use(link, flow):
            nonlocal piece, want, began
            while self.done is None and piece:
                start, end = piece
                flow.ready, flow.start = None, start
                self._lanes_received[flow] = 0
                ready = await self._open(link, flow, [start, end])
                if ready is None or ready.get("complete"):
                    return
                await self._stream(link, flow, end)
                while flow.received < end and self.done is None:
                    await link.wait()
                self._base += end - start
                del self._lanes_received[flow]
                took = time.monotonic() - began
                if took < QUICK:
                    want *= 2
                elif took > SLOW:
                    want = max(want // 2, LEAST_PIECE)
                piece, began = self._take(missing, want), time.monotonic()

        if piece:
            await self._retrying(lambda retry: self._connect(retry, use))

    def _take(self, missing, want):
        """Takes the next piece out of what is missing. Lanes are seldom equally
        fast, so nothing is divided beforehand: towards the end pieces become
        small, and nobody waits long for the slowest."""
        if not missing:
            return None
        start, end = missing[0]
        cut = start + min(want, max(LEAST_PIECE, _size(missing) // (2 * self.options.lanes)))
        if end - cut < LEAST_PIECE // 2:
            missing.pop(0)
            return start, end
        missing[0] = cut, end
        return start, cut

    async def _verify(self):
        """Compares the server's last word with the source."""
        done = self.done
        if done.get("cancelled"):
            raise UploadError("the upload was cancelled by somebody else")
        ours = self._finished or await self.source.digests()
        # One that somebody else finished may have been of another file.
        wrong = DigestMismatch if self._finished else SourceChanged
        length, crc, sha = ours
        if done["length"] != length:
            raise wrong(f"the server has {done['length']} bytes, the source has {length}")
        theirs = done.get("digest") or {}
        if "crc32c" in theirs and base64.b64decode(theirs["crc32c"]) != crc.to_bytes(4, "big"):
            raise wrong("the server's CRC-32C is not that of the source")
        if sha and base64.b64decode(theirs.get("sha-256", "")) != sha:
            raise wrong("the server's SHA-256 is not that of the source" if "sha-256" in theirs else "the server sent no SHA-256")
        self.progress.sent = self.progress.received = self.progress.durable = self.progress.total = length
        if self.options.on_progress:
            self.options.on_progress(self.progress)
        return Result(self.id, length, crc, sha, done.get("location"), done.get("response"),
                      self.resumed_from, max(self.reconnects, 0))


def _error(message):
    error = ServerError(message)
    if error.code == "digest-mismatch" and "offset" not in message:
        return DigestMismatch(str(error))
    if error.code == "inconsistent-upload-length":
        return SourceChanged(str(error))
    return error


def _spent(error):
    """Nothing of the upload is to be gone on with."""
    code = getattr(error, "code", None)
    return isinstance(error, (SourceChanged, DigestMismatch)) or code in (
        "rejected", "bad-id", "not-found", "max-size-exceeded")


def _size(ranges):
    return sum(end - start for start, end in ranges)


async def upload(source, url, options=None):
    """Uploads a File or a Stream, and returns its Result or raises an UploadError."""
    return await Upload(source, url, options or Options()).run()


async def upload_file(path, url, options=None):
    """Uploads the file at path."""
    options = options or Options()
    source = File(path, options.sha256)
    try:
        return await upload(source, url, options)
    finally:
        source.close()


if __name__ == "__main__":
    import wsingest_cli

    wsingest_cli.main()
