"""Tasks of submitit's local executor that are forked from a process that has imported PyTorch, to save the tests time.

Everything else is as users have it: submitit's controller starts a command, and what that ends with is what the task
ends with. This file is that command, too: it asks the server for the task, and waits for it.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LONGEST = 1 << 20

_SERVER = """
import sys
sys.path.insert(0, sys.argv[2])
import scipy.stats, sklearn.ensemble, sklearn.svm
import gradshape_bench.engines.slurm, submitit.core.submission
from tests.bench.engines.forked_tasks import serve
serve(sys.argv[1])
"""


@contextmanager
def task_server(folder: Path) -> Iterator[str]:
    """Run a server; yield the command that takes the place of Python's in what submitit starts."""
    path, root = folder / "tasks", Path(__file__).parents[3]
    with subprocess.Popen([sys.executable, "-c", _SERVER, str(path), str(root)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        yield f"{sys.executable} -I -S {__file__} {path}"
        server.kill()


def serve(path: str) -> None:
    """Fork a process for every task that is asked for, until this one is killed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        print("ready", flush=True)
        while True:
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                _supervise(connection)
            connection.close()


def _supervise(connection: socket.socket) -> None:
    """Run one task; end it if nobody waits for it any more, and say how it ended."""
    message, files, _, _ = socket.recv_fds(connection, _LONGEST, 2)
    asked = json.loads(message)
    task = os.fork()
    if task == 0:
        connection.close()
        os.dup2(files[0], 1)
        os.dup2(files[1], 2)
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["submit", *asked["arguments"]]
        code = 1
        try:
            from submitit.core.submission import submitit_main

            submitit_main()
            code = 0
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    watcher = os.fork()
    if watcher == 0:
        if connection.recv(1) == b"":
            os.kill(task, signal.SIGKILL)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(task, 0)[1])
    os.kill(watcher, signal.SIGKILL)
    connection.sendall(str(code).encode())
    os._exit(0)


def _ask(path: str, arguments: list[str]) -> int:
    """Have a task run, and return its exit code."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        asked = {"folder": os.getcwd(), "environment": dict(os.environ), "arguments": arguments}
        socket.send_fds(connection, [json.dumps(asked).encode()], [1, 2])
        return abs(int(connection.recv(16) or b"1"))


if __name__ == "__main__":
    # What follows the path is "-u -m submitit.core._submit FOLDER".
    sys.exit(_ask(sys.argv[1], sys.argv[5:]))
