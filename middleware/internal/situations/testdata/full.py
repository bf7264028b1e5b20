"""A client of wsingest.v1 in as few lines as it takes: it keeps within the
window, yields, and takes the upload up again where the server says."""

import asyncio
import json
import secrets

from content import Content
from library import DEATHS, Pace, Report, arguments, attempts, burn, connect

SUBPROTOCOL = "wsingest.v1"

o = arguments(__doc__)
content = Content(o.size, o.chunk)
report = Report()
upload_id = secrets.token_urlsafe(24)


class Upload:
    """The upload as one connection sees it."""

    def __init__(self, ws):
        self.ws = ws
        self.position = None  # of the next byte; None before ready
        self.received = self.window = self.chunk = 0
        self.news = asyncio.Event()

    async def read(self):
        while report.answer is None:
            self.take(json.loads(await self.ws.recv()))
            self.news.set()

    def take(self, message):
        kind = message["type"]
        if kind in ("done", "error"):
            report.answer = message
        elif message.get("id") == upload_id:
            if kind == "ready":
                self.position = self.received = message["cursor"]
            else:
                self.received = max(self.received, message["received"])
            self.window, self.chunk = message["window"], message["chunk"]

    def next(self):
        """The next bytes to send, None while there is no credit for them."""
        if self.position is None:
            return None
        n = min(self.chunk, o.chunk, o.size - self.position)
        credit = self.received + self.window - self.position
        if credit < n:
            if self.position > self.received or credit <= 0:
                return None
            n = credit
        data = content.at(self.position, n)
        self.position += n
        return data

    async def say(self, **message):
        await self.ws.send(json.dumps(message))

    async def write(self, reader):
        await self.say(type="open", id=upload_id, name="full.bin", length=o.size,
                       **{"ping-timeout-ms": int(o.ping * 1000)})
        pace = Pace(o)
        while self.position != o.size and not reader.done():
            self.news.clear()
            if data := self.next():
                await self.ws.send(data)
                report.sent += len(data)
                burn(o.burn)
                await asyncio.sleep(pace.after(len(data)))  # also when it is 0: there are pings to answer
            else:
                await self.news.wait()
        if not reader.done():
            await self.say(type="finish", length=o.size)


async def upload():
    async with connect(o, o.url, subprotocols=[SUBPROTOCOL]) as ws:
        report.connected()
        up = Upload(ws)
        reader = asyncio.create_task(up.read())
        reader.add_done_callback(lambda _: up.news.set())
        try:
            await up.write(reader)
            await reader  # until the answer; or it says why the connection ended
        finally:
            reader.cancel()
            await asyncio.gather(reader, return_exceptions=True)


for attempt in attempts(o, report):
    try:
        asyncio.run(upload())
    except DEATHS as e:
        if report.answer is None:
            report.died(e)
report.print()
