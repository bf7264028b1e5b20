"""examples/python/wsingest.py as it is, under the load of a situation. It has no
pings, so there is no ping timeout to set."""

import asyncio
import os

from library import Pace, Report, arguments, burn, examples

examples()
import wsingest

o = arguments(__doc__)
report = Report()


class File(wsingest.File):
    """A file that is there no faster than the load says, in a program that is
    busy besides."""

    def __init__(self, path):
        super().__init__(path)
        self._pace = Pace(o)

    async def read(self, offset, n, least):
        data = await super().read(offset, min(n, o.chunk), least)
        burn(o.burn)
        await asyncio.sleep(self._pace.after(len(data)))
        return data


def ended(error, *_):
    if isinstance(error, wsingest.Stalled):
        report.stalled(error)
    else:
        report.died(error)
    report.connected()  # or soon


async def upload():
    options = wsingest.Options(max_tries=o.tries, min_delay=0.05, on_retry=ended)
    source = File(o.file)
    try:
        await wsingest.upload(source, o.url, options)
        report.answer = {"type": "done"}
    except wsingest.GaveUp as e:
        ended(e.__cause__)
    except wsingest.UploadError as e:
        ended(e)
    finally:
        source.close()


asyncio.run(upload())
report.print()
os._exit(0)  # a log that is blocked would hold up the usual way out
