"""The log of the library underneath, handed on by a thread of its own.

At DEBUG websockets writes a line for each frame, from within the event loop. A
log into a pipe that nobody reads, or a slow disk, would stop the transfer and
its keepalive; here it stops the thread, and lines are dropped.

The logger is "wsingest.websockets"; its level is that of "wsingest", or of the
root, unless it is given one. What it writes goes to the handlers of "wsingest".
"""

import logging
import logging.handlers
import queue
import threading

MOST_WAITING = 4096


class _Handoff(logging.handlers.QueueHandler):
    def __init__(self, target):
        super().__init__(queue.Queue(MOST_WAITING))
        self._target = target
        self._thread = None

    def enqueue(self, record):
        if self._thread is None:  # emit is called with the handler's lock held
            self._thread = threading.Thread(target=self._pass_on, name="wsingest-log", daemon=True)
            self._thread.start()
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            pass

    def _pass_on(self):
        while True:
            self._target.handle(self.queue.get())


LOGGER = logging.getLogger("wsingest.websockets")
LOGGER.propagate = False
if not LOGGER.handlers:
    LOGGER.addHandler(_Handoff(logging.getLogger("wsingest")))
