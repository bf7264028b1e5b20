"""One WebSocket connection that speaks wsingest.v1: the part of the client that
knows the library underneath, the form of the messages, and when a connection is
dead.

The library is websockets: 10 to 13 with the interface it calls legacy today, 14
and later with the one in websockets.asyncio. What differs stays in this file.
"""

import asyncio
import email.utils
import json
import ssl
import time

import websockets
import websockets.exceptions

from wsingest_log import LOGGER

try:
    from websockets.asyncio.client import connect as _connect

    _HEADERS = "additional_headers"
except ImportError:
    from websockets import connect as _connect

    _HEADERS = "extra_headers"

SUBPROTOCOL = "wsingest.v1"

# Of a connection on which the server has not told its rhythm yet.
PATIENCE = 30.0
DIAL_TIMEOUT = 30.0
GOODBYE_TIMEOUT = 1.0
MAX_MESSAGE = 262_144


class UploadError(Exception):
    """An upload failed. resumable: the same source, under the same id or with
    the same state file, goes on where it ended."""

    resumable = False


class Broken(UploadError):
    """A connection ended, or could not be made, in a way that another may not."""

    resumable = True
    retry_after = None  # seconds, where the server asked for some


class Stalled(Broken):
    """Nothing came from the server for two of its intervals, or it took nothing."""


class Goaway(Broken):
    """The server reloads or stops."""

    def __init__(self, retry_after):
        super().__init__("the server reloads or stops")
        self.retry_after = retry_after


class Refused(Broken):
    """The answer to the handshake was not 101."""

    def __init__(self, status, retry_after=None):
        hint = " (is this the URL of an upload route?)" if status < 400 else ""
        super().__init__(f"the server refused the connection: HTTP status {status}{hint}")
        self.status = status
        self.retry_after = retry_after
        # What the server may answer otherwise later: it is asked again.
        self.resumable = status in (408, 425, 429) or status >= 500 and status not in (501, 505)


class ProtocolError(UploadError):
    """The other end does not speak wsingest.v1, or a certificate is wrong."""


class ServerError(Broken):
    """An error message of the server, section 16 of PROTOCOL.md."""

    def __init__(self, message):
        super().__init__(f"{message.get('detail') or 'no detail'} ({message['code']})")
        self.id = message.get("id")
        self.code = message["code"]
        self.resumable = message["resumable"]
        self.response = message.get("response")
        after = message.get("retry-after-ms")
        self.retry_after = after / 1000 if after else None
        # Trying again would fight another client, or say the same once more.
        self.final = not self.resumable or self.code in ("superseded", "bad-message", "inconsistent-upload-length")


# The fields that must be there, and their types.
_FIELDS = {
    "ready": {"id": str, "offset": int, "received": int, "cursor": int, "missing": list, "have": list,
              "window": int, "chunk": int, "limits": dict, "keepalive": dict},
    "ack": {"id": str, "offset": int, "received": int, "window": int, "chunk": int},
    "done": {"id": str, "length": int},
    "error": {"code": str, "detail": str, "resumable": bool},
    "goaway": {"offset": int},
}


def _unique(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ProtocolError("the server sent a message in which a name stands twice")
    return members


def decode(text):
    """The members of a server's message; what is not known is left in."""
    if not isinstance(text, str):
        raise ProtocolError("the server sent a binary message")
    try:
        message = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as e:
        raise ProtocolError(f"the server sent a message that is not JSON: {e}") from None
    kind = message.get("type") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in _FIELDS:
        raise ProtocolError(f"the server sent a message of unknown type {kind!r}")
    for name, wanted in _FIELDS[kind].items():
        value = message.get(name)
        if not isinstance(value, wanted) or isinstance(value, bool) and wanted is int:
            raise ProtocolError(f"the server sent {kind!r} without a proper {name!r}")
    return message


def _final_close(e):
    """What a close code says where no error message came before it."""
    code = e.rcvd.code if e.rcvd is not None else 1006
    if code == 4409:
        return ServerError({"code": "superseded", "detail": "another connection has taken over this upload", "resumable": True})
    if code in (1008, 1009):
        return ProtocolError(f"the server, or a proxy before it, closed the connection for good: {e}")
    return Broken(f"the connection broke: {e}")


def _retry_after(headers):
    value = (headers or {}).get("Retry-After", "")
    if value.isdecimal():
        return float(value)
    try:
        when = email.utils.parsedate_to_datetime(value).timestamp()
    except (TypeError, ValueError):
        return None
    return max(0.0, when - time.time())


def _dial_error(e):
    response = getattr(e, "response", e)  # 14 and later have one; before, the exception is it
    status = getattr(response, "status_code", None)
    if status is not None:
        return Refused(status, _retry_after(getattr(response, "headers", None)))
    if isinstance(e, (websockets.exceptions.NegotiationError, websockets.exceptions.InvalidURI, ssl.SSLCertVerificationError)):
        return ProtocolError(str(e))
    if isinstance(e, ssl.SSLError) and e.reason == "WRONG_VERSION_NUMBER":
        return ProtocolError(f"{e} (should the URL begin with ws://?)")
    return Broken(f"cannot connect: {e or type(e).__name__}")


class Link:
    """A connection. Somebody sends on it; a task of its own reads it, hands each
    message to handle, and so never waits for anybody."""

    def __init__(self, ws, handle):
        self.error = None  # why it is of no more use, once it is not
        self.changed = asyncio.Event()  # something was read, or the connection ended
        self.ended = asyncio.Event()
        self._ws = ws
        self._handle = handle
        self._silence = self._write_patience = PATIENCE
        self._heard = time.monotonic()
        self._writing = None  # since when
        self._tasks = []

    @classmethod
    async def dial(cls, url, handle, headers=None, tls=None):
        # No pings of our own, and no pongs to wait for: the server says
        # something at least every interval, and its silence is what counts. A
        # ping would wait behind our own data, and tell nothing.
        options = {
            "subprotocols": [SUBPROTOCOL], "compression": None, "max_size": MAX_MESSAGE,
            "ping_interval": None, "open_timeout": DIAL_TIMEOUT, "close_timeout": GOODBYE_TIMEOUT,
            "logger": LOGGER, _HEADERS: headers or {},
        }
        if tls is not None and url.startswith("wss:"):
            options["ssl"] = tls
        try:
            ws = await _connect(url, **options)
        except (OSError, asyncio.TimeoutError, EOFError, websockets.exceptions.WebSocketException) as e:
            raise _dial_error(e) from e
        link = cls(ws, handle)
        if ws.subprotocol != SUBPROTOCOL:
            await link.close(1002)
            raise ProtocolError(f"the server took the connection without the subprotocol {SUBPROTOCOL}")
        link._tasks = [asyncio.ensure_future(link._read()), asyncio.ensure_future(link._watch())]
        return link

    async def _read(self):
        try:
            while True:
                message = decode(await self._ws.recv())
                self._heard = time.monotonic()
                if message["type"] == "ready":
                    self._adopt(message["keepalive"])
                self._handle(message)
                self.changed.set()
        except websockets.exceptions.ConnectionClosed as e:
            self.fail(_final_close(e))
        except UploadError as e:
            self.fail(e)
            await self.close(1008)
        except Exception as e:  # a bug here, or in handle: nobody would ever hear of it
            self.fail(e)

    def _adopt(self, keepalive):
        interval, timeout = keepalive.get("interval-ms"), keepalive.get("timeout-ms")
        if interval:
            self._silence = 2 * interval / 1000
        if timeout:
            self._write_patience = max(timeout / 1000, self._silence)

    def _overdue(self):
        """What is wrong, if anything, and how long until it could be."""
        now = time.monotonic()
        left = self._heard + self._silence - now
        if left <= 0:
            return f"nothing came from the server for {self._silence:g} s", 0
        if self._writing is not None:
            left = min(left, self._writing + self._write_patience - now)
            if left <= 0:
                return f"the server took nothing for {self._write_patience:g} s", 0
        return None, left

    async def _watch(self):
        # Waking twice a second at least finds a rhythm that has changed.
        while True:
            wrong, left = self._overdue()
            if wrong:
                # If it was this process that slept, what came in is waiting.
                await asyncio.sleep(0.05)
                wrong, left = self._overdue()
                if wrong:
                    self.fail(Stalled(wrong))
                    self._ws.transport.abort()
                    return
            await asyncio.sleep(min(left, 0.5) + 0.001)

    def fail(self, error):
        """Ends the usefulness of the connection; the first reason stands."""
        if self.error is None:
            self.error = error
        self.ended.set()
        self.changed.set()

    async def wait(self):
        """Returns when something was read; raises what ended the connection."""
        if self.error is None:
            await self.changed.wait()
        self.changed.clear()
        if self.error is not None:
            raise self.error

    async def send(self, data):
        """Sends a message: bytes of the file, or a control message as a dict."""
        if self.error is not None:
            raise self.error
        if isinstance(data, dict):
            data = json.dumps({k: v for k, v in data.items() if v is not None}, ensure_ascii=False)
        self._writing = time.monotonic()
        try:
            await self._ws.send(data)
        except websockets.exceptions.ConnectionClosed:
            # The reader has the server's last words before it has the end.
            await asyncio.wait(self._tasks[:1])
            raise self.error from None
        finally:
            self._writing = None

    async def close(self, code=1000):
        """Ends the connection in a bounded time."""
        if isinstance(self.error, Stalled):
            self._ws.transport.abort()
        tasks = [t for t in self._tasks if t is not asyncio.current_task()]
        try:
            await asyncio.wait_for(self._ws.close(code), 2 * GOODBYE_TIMEOUT)
        except (asyncio.TimeoutError, OSError, websockets.exceptions.WebSocketException):
            self._ws.transport.abort()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
