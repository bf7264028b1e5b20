"""The loop of the websockets article: send one chunk after the other, and never
call recv() until the end. The server knows the length from the URL."""

import asyncio
import json

from content import Content
from library import DEATHS, Pace, Report, arguments, attempts, burn, connect

o = arguments(__doc__)
content = Content(o.size, o.chunk)
report = Report()


def chunks(offset):
    while offset < o.size:
        chunk = content.at(offset, o.chunk)
        offset += len(chunk)
        yield chunk


async def upload(resume):
    url = o.url + "&offset=resume" if resume else o.url
    async with connect(o, url) as ws:
        report.connected()
        offset = json.loads(await ws.recv())["cursor"] if resume else 0
        pace = Pace(o)
        for chunk in chunks(offset):
            await ws.send(chunk)
            report.sent += len(chunk)
            burn(o.burn)
            if o.rate:
                await asyncio.sleep(pace.after(len(chunk)))
        while report.answer is None:
            message = json.loads(await ws.recv())
            if message["type"] in ("done", "error"):
                report.answer = message


for attempt in attempts(o, report):
    try:
        asyncio.run(upload(resume=attempt > 0))
    except DEATHS as e:
        if report.answer is None:
            report.died(e)
report.print()
