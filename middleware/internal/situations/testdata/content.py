"""The bytes of the uploads, the same as in content_test.go."""

import hashlib

# A prime, so that no chunk size divides it: a chunk that is lost, doubled or
# misplaced shows in the bytes behind it.
PERIOD = 1_000_003


def _block():
    digests = (hashlib.sha256(i.to_bytes(8, "big")).digest() for i in range(PERIOD // 32 + 1))
    return b"".join(digests)[:PERIOD]


class Content:
    """size bytes that can be read at any offset."""

    def __init__(self, size, longest):
        self.size = size
        block = _block()
        times = 1 + -(-longest // PERIOD)
        self._bytes = memoryview(block * times)

    def at(self, offset, n):
        start = offset % PERIOD
        return self._bytes[start : start + min(n, self.size - offset)]
