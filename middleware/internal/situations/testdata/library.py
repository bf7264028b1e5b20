"""What the clients share: arguments, the connection, and the report of what
became of the upload. Run as a program it says which library is installed."""

import argparse
import hashlib
import json
import logging
import sys
import time
from pathlib import Path

import websockets
import websockets.exceptions

_connect = websockets.connect
DEATHS = (websockets.exceptions.ConnectionClosed, OSError, EOFError)


def arguments(description):
    p = argparse.ArgumentParser(description=description)
    p.add_argument("url")
    p.add_argument("--size", type=int, required=True, help="bytes of the file")
    p.add_argument("--chunk", type=int, required=True, help="bytes of a message, at most")
    p.add_argument("--ping", type=float, default=20, help="ping interval and timeout, in seconds")
    p.add_argument("--rate", type=float, default=0, help="bytes a second, as they are produced; 0: at once")
    p.add_argument("--burn", type=float, default=0, help="seconds of hashing after each message")
    p.add_argument("--tries", type=int, default=1, help="connections, at most")
    p.add_argument("--file", help="the file, for clients that want one")
    p.add_argument("--debug", action="store_true", help="log at DEBUG to standard error")
    o = p.parse_args()
    if o.debug:
        logging.basicConfig(level=logging.DEBUG)
    return o


def examples():
    """Has the clients in examples/python imported from their place."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "examples" / "python"))


def connect(o, url, **more):
    # How long the library waits for a closing handshake, with a server that is
    # stuck, is of no interest here: 10 s by default.
    return _connect(url, ping_interval=o.ping, ping_timeout=o.ping, close_timeout=0.5, **more)


def burn(seconds):
    """Keeps the event loop busy, as hashing a large piece of a file does."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        hashlib.sha256(bytes(256 << 10))


class Pace:
    """When the next bytes are there, of a source that is no faster than o.rate."""

    def __init__(self, o):
        self._rate = o.rate
        self._next = time.monotonic()

    def after(self, n):
        """Seconds to wait, n bytes having been sent."""
        now = time.monotonic()
        if self._rate:
            self._next = max(self._next, now) + n / self._rate
        return max(0, self._next - now)


class Report:
    """What became of an upload: one line of JSON on standard output."""

    def __init__(self):
        self.sent = 0
        self.deaths = []
        self.answer = None
        self._began = time.monotonic()

    def connected(self):
        self._began = time.monotonic()

    def died(self, e):
        # Both sides' codes are there when one closed and the other agreed.
        sent, rcvd = getattr(e, "sent", None), getattr(e, "rcvd", None)
        code, by = 1006, "nobody"
        if sent is not None and not (rcvd is not None and e.rcvd_then_sent):
            code, by = sent.code, "client"
        elif rcvd is not None:
            code, by = rcvd.code, "server"
        self._note(code, by, e)

    def stalled(self, e):
        """The client itself gave up on a connection on which nothing moved."""
        self._note(0, "patience", e)

    def _note(self, code, by, e):
        self.deaths.append({
            "code": code, "by": by, "detail": f"{type(e).__name__}: {e}",
            "seconds": time.monotonic() - self._began,
        })

    def print(self):
        print(json.dumps({
            "sent": self.sent, "deaths": self.deaths, "answer": self.answer,
            "seconds": time.monotonic() - self._began,
        }), flush=True)


def attempts(o, report):
    """Yields until an answer came or there are no tries left."""
    for n in range(o.tries):
        if report.answer is None:
            if n:
                time.sleep(0.1)
            yield n


if __name__ == "__main__":
    print(websockets.__version__, websockets.connect.__module__)
