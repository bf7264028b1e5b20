"""What is uploaded: a file, or a stream of unknown length, and the checksums of
what was read of it."""

import asyncio
import hashlib
import io
import os
import threading
from concurrent.futures import ThreadPoolExecutor

from wsingest_crc32c import combine, extend
from wsingest_link import UploadError

BLOCK = 1 << 20


class SourceChanged(UploadError):
    """The source is not what it was when the upload began. Nothing of the two
    was mixed; the next upload of it begins anew."""


class Sums:
    """The digests of the whole, collected from pieces in any order. Used from
    one thread at a time."""

    def __init__(self, sha256=False):
        self._sha = hashlib.sha256() if sha256 else None
        self._hashed = 0
        self._known = []  # [start, end, crc], apart from each other and in order

    def note(self, offset, data):
        """Counts bytes that were read; those that were counted before do not
        count again."""
        end = offset + len(data)
        if self._sha and offset <= self._hashed < end:
            self._sha.update(memoryview(data)[self._hashed - offset :])
            self._hashed = end
        for start, stop in self.gaps(offset, end):
            part = data if stop - start == len(data) else data[start - offset : stop - offset]
            before = next((k for k in self._known if k[1] == start), None)
            if before:
                before[1], before[2] = stop, extend(before[2], part)
            else:
                self._known.append([start, stop, extend(0, part)])
            self._join()

    def _join(self):
        self._known.sort()
        joined = []
        for start, end, crc in self._known:
            if joined and joined[-1][1] == start:
                joined[-1][1:] = [end, combine(joined[-1][2], crc, end - start)]
            else:
                joined.append([start, end, crc])
        self._known = joined

    def gaps(self, start, end):
        """What was not counted yet of a range."""
        missing = []
        for a, b, _ in self._known:
            if a >= end:
                break
            if b > start:
                if a > start:
                    missing.append((start, a))
                start = max(start, b)
        if start < end:
            missing.append((start, end))
        return missing

    def unread(self, length):
        """What must be read yet to know the digests of so many bytes."""
        if self._sha:
            return [(self._hashed, length)] if self._hashed < length else self.gaps(0, length)
        return self.gaps(0, length)

    def crc32c(self):
        return self._known[0][2] if self._known else 0

    def sha256(self):
        return self._sha.digest() if self._sha else None


class File:
    """A file, read from any offset. Reading and checksums have a thread of
    their own, so that a slow disk does not hold up the event loop."""

    def __init__(self, path, sha256=False):
        self.path = os.path.abspath(path)
        self.name = os.path.basename(self.path)
        self._file = open(self.path, "rb", buffering=0)
        self._began = os.fstat(self._file.fileno())
        self.size = self._began.st_size
        self._sums = Sums(sha256)
        self._thread = ThreadPoolExecutor(1, "wsingest-file")

    async def _do(self, function, *args):
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _read(self, offset, n):
        self._file.seek(offset)
        data = self._file.read(n)
        while len(data) < n:
            more = self._file.read(n - len(data))
            if not more:
                raise SourceChanged(f"{self.path} ends at byte {offset + len(data)}, it had {self.size}")
            data += more
        return data

    def _take(self, offset, n):
        data = self._read(offset, n)
        self._sums.note(offset, data)
        return data

    async def read(self, offset, n, least):
        """Up to n bytes from offset on; b"" at the end."""
        n = min(n, self.size - offset)
        return await self._do(self._take, offset, n) if n > 0 else b""

    def _crc(self, start, end):
        crc = 0
        for offset in range(start, end, BLOCK):
            data = self._take(offset, min(BLOCK, end - offset))
            crc = extend(crc, data)
        return crc

    async def prove(self, have):
        """Compares the file with what the server holds of it."""
        for start, end, crc in have:
            if end > self.size:
                raise SourceChanged(f"{self.path} has {self.size} bytes, the server has some up to {end}")
            if await self._do(self._crc, start, end) != crc:
                raise SourceChanged(f"{self.path} has changed: its bytes {start} to {end} are not those the server has")

    def release(self, durable):
        pass  # a file can be read again

    def _digests(self):
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self._began.st_size, self._began.st_mtime_ns):
            raise SourceChanged(f"{self.path} changed while it was uploaded")
        while True:
            unread = self._sums.unread(self.size)
            if not unread:
                return self.size, self._sums.crc32c(), self._sums.sha256()
            start, end = unread[0]
            self._take(start, min(BLOCK, end - start))

    async def digests(self):
        """Length, CRC-32C and SHA-256 (None: not wanted) of the whole."""
        return await self._do(self._digests)

    def fingerprint(self):
        """Of both ends: cheap to compare before the server is asked."""
        edge = min(self.size, 64 << 10)
        head, tail = self._read(0, edge), self._read(self.size - edge, edge)
        return f"crc32c:{extend(0, head):08x}-{extend(0, tail):08x}"

    def close(self):
        self._thread.shutdown(wait=True)
        self._file.close()


class Stream:
    """Bytes that can be read once. What the server has not called durable is
    kept, up to retention bytes; then reading waits."""

    path = None

    def __init__(self, file, name=None, size=None, sha256=False, retention=64 << 20):
        self.name = name
        self.size = size  # None: not known before the end
        self._file = file
        self._retention = retention
        self._sums = Sums(sha256)
        self._expect = []  # (start, end, crc) of what the server had at the outset
        self._part = 0
        self._blocks = []  # (offset, bytes) in order
        self._end = self._durable = 0
        self._eof = False
        self._error = None
        self._room = threading.Condition()
        self._loop = self._news = None
        self._closed = False

    def _start(self):
        if self._loop is None:
            self._loop, self._news = asyncio.get_running_loop(), asyncio.Event()
            # A daemon: a read that never returns must not hold up the exit.
            threading.Thread(target=self._pump, name="wsingest-stream", daemon=True).start()

    def _pump(self):
        try:
            while self._wait_for_room():
                data = self._some()
                with self._room:
                    self._took(data)
                self._tell()
                if not data:
                    return
        except Exception as e:  # of the stream, or of what it holds
            self._error = e if isinstance(e, UploadError) else UploadError(f"the source cannot be read: {e}")
            self._tell()

    def _some(self):
        try:
            return os.read(self._file.fileno(), 256 << 10)  # what is there, not a whole block
        except (AttributeError, io.UnsupportedOperation):
            return self._file.read(256 << 10)

    def _wait_for_room(self):
        with self._room:
            while not self._closed and self._end - self._durable >= self._retention:
                self._room.wait()
            return not self._closed

    def _took(self, data):
        if not data:
            if self.size is not None and self._end != self.size:
                raise UploadError(f"the source ended after {self._end} bytes of {self.size}")
            if self._expect:
                raise SourceChanged(f"the source ended at {self._end}, the server has bytes up to {self._expect[-1][1]}")
            self._eof = True
            return
        if self.size is not None and self._end + len(data) > self.size:
            raise UploadError(f"the source has more than the {self.size} bytes it was said to have")
        self._sums.note(self._end, data)
        self._compare(data)
        if self._end + len(data) > self._durable:
            self._blocks.append((self._end, data))
        self._end += len(data)

    def _compare(self, data):
        at, end = self._end, self._end + len(data)
        while self._expect and self._expect[0][0] < end:
            start, stop, crc = self._expect[0]
            self._part = extend(self._part, data[max(start - at, 0) : stop - at])
            if stop > end:
                return
            if self._part != crc:
                raise SourceChanged(f"the source's bytes {start} to {stop} are not those the server has")
            del self._expect[0]
            self._part = 0

    def _tell(self):
        try:
            self._loop.call_soon_threadsafe(self._news.set)
        except RuntimeError:
            pass  # the loop has ended

    async def prove(self, have):
        """What the server holds must be what the stream begins with: it is
        compared as it is read."""
        self._expect = list(have)

    def release(self, durable):
        with self._room:
            self._durable = max(self._durable, durable)
            while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= durable:
                del self._blocks[0]
            self._room.notify()

    async def read(self, offset, n, least):
        """Up to n bytes from offset on, and b"" at the end. Waits for what is
        not there yet, and for at least so many while more can come."""
        self._start()
        while True:
            self._news.clear()
            with self._room:
                if self._error:
                    raise self._error
                if offset < self._end and (self._blocks[0][0] if self._blocks else self._end) > offset:
                    raise UploadError(f"the server asks for byte {offset}, which it had called durable: it is not kept")
                full = self._end - self._durable >= self._retention
                if self._end - offset >= min(least, n) or self._end > offset and full:
                    return self._copy(offset, n)
                if self._eof:
                    return self._copy(offset, n)
            await self._news.wait()

    def _copy(self, offset, n):
        pieces = []
        for start, block in self._blocks:
            if n and start + len(block) > offset:
                piece = block[offset - start : offset - start + n]
                pieces.append(piece)
                offset += len(piece)
                n -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def digests(self):
        self._start()
        while not self._eof:  # the upload was finished by somebody else: read to the end
            self.release(1 << 62)
            self._news.clear()
            if self._error:
                raise self._error
            if not self._eof:
                await self._news.wait()
        return self._end, self._sums.crc32c(), self._sums.sha256()

    def close(self):
        with self._room:
            self._closed = True
            self._room.notify()
