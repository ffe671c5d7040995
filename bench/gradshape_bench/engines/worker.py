"""The main loop of a worker process: it receives bundles and sends back the outcomes of their jobs."""

import faulthandler
import signal
from contextlib import suppress
from multiprocessing.connection import Connection

from gradshape_bench.engines.allocator import keep_freed_memory
from gradshape_bench.engines.answer import answer
from gradshape_bench.engines.base import Failed
from gradshape_bench.engines.orphans import end_with_parent
from gradshape_bench.engines.transport import Begun, Receiver, WorkerMessage, pack_message
from gradshape_bench.engines.work import one_thread
from gradshape_bench.matmul_precision import restore_tf32

# Seconds between two messages on how far a bundle is.
_INTERVAL = 0.1
# The message that ends a worker.
NOTHING_MORE = b""


def serve(connection: Connection, max_memory: int) -> None:
    """Do the bundles that arrive on ``connection`` until :data:`NOTHING_MORE` arrives or the connection is closed.

    The first message that is sent back of a bundle says that it is begun; every other one is the place of a job in the
    bundle and the outcome of that job. The place is -1 if the message concerns all jobs that are left, or says how far
    the bundle is. The process ends with the one that started it.
    """
    end_with_parent()
    # The process that started this one receives interrupts, too, and ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, ValueError):
        # If native code crashes, standard error shows which line of a job it was called from.
        faulthandler.enable(file=2)
    keep_freed_memory()
    receiver = Receiver()

    def tell(place: int, told: WorkerMessage) -> None:
        connection.send_bytes(pack_message(place, told))

    with one_thread():
        while True:
            try:
                packed = connection.recv_bytes()
            except EOFError:
                return
            if packed == NOTHING_MORE:
                return
            tell(-1, Begun())
            try:
                settings, bundle = receiver.unpack(packed)
            except Exception as error:
                tell(-1, Failed(error))
                continue
            restore_tf32(settings)
            # The rows in the message and in the jobs would lie in memory beside those of the next bundle.
            del packed
            answer(dict(enumerate(bundle)), max_memory=max_memory, interval=_INTERVAL, tell=tell)
            del bundle
