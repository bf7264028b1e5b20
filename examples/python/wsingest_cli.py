"""The command: python -m wsingest [options] FILE... URL"""

import argparse
import asyncio
import mimetypes
import os
import signal
import ssl
import sys
import time

import wsingest

OK, FAILED, USAGE, RESUMABLE, REJECTED, CHANGED, DIGEST, SUPERSEDED = range(8)

EXIT_CODES = """
A server that wants a ticket gets the one in the environment variable WSINGEST_TICKET.

exit codes:
  0  all files are uploaded
  1  failed for good
  2  wrong usage
  3  interrupted, or gave up for now: the same command goes on
  4  rejected: by the server's rules, or by the app behind it
  5  a file has changed since its upload began; the same command uploads it anew
  6  the server's bytes differ from those that were sent
  7  another program has taken over the upload of the same file
With several files it is the first that is neither 0 nor 3, and 3 if there is none.
"""


def exit_code(error, remembered):
    if isinstance(error, wsingest.SourceChanged):
        return CHANGED
    if isinstance(error, wsingest.DigestMismatch):
        return DIGEST
    code = getattr(error, "code", None)
    if code == "superseded":
        return SUPERSEDED
    if code in ("rejected", "forbidden", "quota-exceeded", "max-size-exceeded") or getattr(error, "status", None) in (401, 403):
        return REJECTED
    interrupted = isinstance(error, asyncio.CancelledError) or getattr(error, "resumable", False)
    return RESUMABLE if interrupted and remembered else FAILED


class PlainBar:
    """A line that says how far it is; for terminals without tqdm."""

    def __init__(self, name, total):
        self._name, self._total = name, total
        self._began, self._shown = time.monotonic(), 0.0

    def update_to(self, n, total):
        now = time.monotonic()
        if now - self._shown < 0.1 and n != total:
            return
        self._shown = now
        rate = n / max(now - self._began, 0.001) / (1 << 20)
        share = f"{100 * n / total:5.1f} %" if total else f"{n >> 20} MiB"
        print(f"\r{self._name[:40]}  {share}  {rate:.1f} MiB/s\033[K", end="", file=sys.stderr, flush=True)

    def close(self):
        print("\r\033[K", end="", file=sys.stderr, flush=True)


class NoBar:
    def __init__(self, name, total):
        pass

    def update_to(self, n, total):
        pass

    def close(self):
        pass


def _bar_class(quiet):
    if quiet or not sys.stderr.isatty():
        return NoBar
    try:
        import tqdm
    except ImportError:
        return PlainBar

    class Bar(tqdm.tqdm):
        def __init__(self, name, total):
            super().__init__(desc=name, total=total, unit="B", unit_scale=True, unit_divisor=1024, leave=False)

        def update_to(self, n, total):
            self.total = total
            self.update(n - self.n)

    return Bar


def parse(args):
    p = argparse.ArgumentParser(
        prog="python -m wsingest", epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Uploads files to a wsingest server, and goes on where it was when interrupted. "
        "A FILE of - is the standard input.")
    p.add_argument("files", nargs="+", metavar="FILE")
    p.add_argument("url", metavar="URL", help="of the upload route, such as wss://example.org/upload/")
    p.add_argument("--digest", action="store_true", help="compare and print the SHA-256 that the server computed")
    p.add_argument("--lanes", type=int, default=1, metavar="N", help="connections for one large file, 1 to 16")
    p.add_argument("--name", help="of the file for the server (one FILE only)")
    p.add_argument("--type", help="media type (default: by the name's extension)")
    p.add_argument("--id", help="of the upload (one FILE only): the way to resume a stream. One that begins with - is written --id=-...")
    p.add_argument("--header", action="append", default=[], metavar="'K: V'", help="goes with the handshake; may be repeated")
    p.add_argument("--retry", type=float, default=900, metavar="SECONDS", help="go on trying for so long without progress; negative: for ever")
    p.add_argument("--retention", type=int, default=64, metavar="MIB", help="memory for what was read from - and is not durable yet")
    p.add_argument("--cacert", metavar="FILE", help="trust the certificates in FILE (PEM)")
    p.add_argument("--state-dir", metavar="DIR", default=default_state_dir(), help="where unfinished uploads are remembered; empty: nowhere")
    p.add_argument("--quiet", action="store_true", help="print errors only")
    o = p.parse_args(args)
    if len(o.files) > 1 and (o.name or o.id):
        p.error("--name and --id are for one FILE")
    if o.files.count("-") > 1:
        p.error("the standard input can be uploaded once only")
    if not o.url.startswith(("ws://", "wss://", "http://", "https://")):
        p.error(f"the last argument is {o.url!r}, expected a URL such as ws://localhost:8080/upload/")
    if not 1 <= o.lanes <= 16:
        p.error("--lanes is 1 to 16")
    if o.retention < 1:
        p.error("--retention is 1 or more")
    if any(":" not in h for h in o.header):
        p.error("--header expects 'Name: value'")
    return o


def default_state_dir():
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "wsingest-python")


def options(o, name, retried):
    return wsingest.Options(
        id=o.id, name=name, media_type=o.type or mimetypes.guess_type(name or "")[0], sha256=o.digest, lanes=o.lanes,
        headers={k.strip(): v.strip() for k, _, v in (h.partition(":") for h in o.header)},
        tls=ssl.create_default_context(cafile=o.cacert) if o.cacert else None,
        ticket=os.environ.get("WSINGEST_TICKET"),  # an argument would be everybody's to see
        state_dir=o.state_dir or None, give_up_after=o.retry, on_retry=retried)


async def put(o, file):
    """Uploads one file; returns its exit code."""
    bar = None

    def retried(error, pause):
        if not o.quiet:
            print(f"{file}: {error}; trying again in {pause:.1f} s", file=sys.stderr)

    source = None
    try:
        if file == "-":
            source = wsingest.Stream(sys.stdin.buffer, o.name, sha256=o.digest, retention=o.retention << 20)
        else:
            source = wsingest.File(file, o.digest)
        how = options(o, o.name or source.name, retried)
        bar = _bar_class(o.quiet)(source.name or file, source.size)
        how.on_progress = lambda p: bar.update_to(p.received, p.total)
        result = await wsingest.upload(source, o.url, how)
    except (wsingest.UploadError, OSError, asyncio.CancelledError) as error:
        if bar:
            bar.close()
        return complain(o, file, error)
    finally:
        if source:
            source.close()
    bar.close()
    told(o, file, result)
    return OK


def complain(o, file, error):
    remembered = bool(o.id or o.state_dir and file != "-")
    code = exit_code(error, remembered)
    text = "interrupted" if isinstance(error, asyncio.CancelledError) else str(error)
    if code == RESUMABLE:
        text += "; the same command goes on"
    print(f"{file}: {text}", file=sys.stderr)
    response = getattr(error, "response", None)
    if response and response.get("body"):
        print(response["body"], file=sys.stderr)
    return code


def told(o, file, result):
    if o.digest:
        print(f"{result.sha256.hex()}  {file}")
    if not o.quiet:
        resumed = f", of which {result.resumed_from} were there already" if result.resumed_from else ""
        where = f" at {result.location}" if result.location else ""
        print(f"{file}: {result.length} bytes{resumed}{where}", file=sys.stderr)


async def put_all(o):
    task = asyncio.current_task()
    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            asyncio.get_running_loop().add_signal_handler(number, _interrupt, task, number)
        except (NotImplementedError, ValueError):
            pass  # Windows: KeyboardInterrupt
    codes = []
    for file in o.files:
        codes.append(await put(o, file))
        if task in _interrupted:
            break
    return codes


_interrupted = set()


def _interrupt(task, number):
    signal.signal(number, signal.SIG_DFL)  # the second one finds nobody who handles it
    _interrupted.add(task)
    task.cancel()


def main(args=None):
    o = parse(args)
    try:
        codes = asyncio.run(put_all(o))
    except KeyboardInterrupt:
        codes = [RESUMABLE]
    sys.stdout.flush()
    # A thread may hang in a read of the standard input: it is not waited for.
    os._exit(next((c for c in codes if c not in (OK, RESUMABLE)), max(codes)))


if __name__ == "__main__":
    main()
