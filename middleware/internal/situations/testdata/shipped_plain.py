"""examples/python/plain.py as it is, under the load of a situation: what is set
is what a test cannot wait for, its ping timeout and its patience, and how much
it sends at a time."""

import asyncio
import contextlib

import websockets

from library import DEATHS, Pace, Report, arguments, burn, connect, examples

examples()
import plain

o = arguments(__doc__)
report = Report()
pace = Pace(o)


class Loaded:
    """A connection for which the bytes come no faster than the load says."""

    def __init__(self, ws):
        self._ws = ws

    async def send(self, data):
        await self._ws.send(data)
        burn(o.burn)
        if o.rate:
            await asyncio.sleep(pace.after(len(data)))

    def __getattr__(self, name):
        return getattr(self._ws, name)


@contextlib.asynccontextmanager
async def loaded(url, **more):
    async with connect(o, url, **more) as ws:
        report.connected()
        yield Loaded(ws)


class Upload(plain.Upload):
    async def attempt(self):
        try:
            return await super().attempt()
        except asyncio.TimeoutError as e:
            report.stalled(e)
            raise
        except DEATHS as e:
            report.died(e)
            raise


websockets.connect = loaded
plain.CHUNK = o.chunk
plain.TRIES = o.tries
plain.PATIENCE = min(plain.PATIENCE, 6 * o.ping)
try:
    report.answer = asyncio.run(Upload(o.file, o.url).run())
except SystemExit as e:
    report.answer = {"type": "error", "detail": str(e)}
report.print()
