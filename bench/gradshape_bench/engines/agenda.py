"""What the workers of an engine are to do next, and what becomes of jobs whose worker was lost."""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gradshape_bench.engines.base import Bundle, Done, Failed
from gradshape_bench.engines.faults import Crashed, asked_for, timed_out
from gradshape_bench.engines.work import halves, under_way
from gradshape_bench.jobs import AnyJob

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Part:
    """Jobs for one worker, and whether another one died of them."""

    jobs: Bundle
    again: bool = False


class Agenda:
    """The bundles of a run, and before them the parts of those whose workers were lost.

    If a worker dies, another one does what is left of its bundle. If that one dies, too, the job that it was at fails
    with :class:`Crashed`; of a stack of trainings it is found by halving. A worker whose job, or stack, takes longer
    than the limit is to be ended, and the job fails with :class:`TimedOut`; a stack is halved here, too, so that no
    training fails for what runs beside it. All other jobs of the bundle are done by the next worker.

    Args:
        worker: what a worker is called.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._waiting: deque[Part] = deque()

    def next(self, bundles: Iterator[Bundle | None]) -> Part | None:
        """Return what is to be done next; ``None`` if there is nothing for now."""
        if self._waiting:
            return self._waiting.popleft()
        bundle = next(bundles, None)
        return None if bundle is None else Part(bundle)

    def put_back(self, part: Part) -> None:
        """Let what could not be begun be next."""
        self._waiting.appendleft(part)

    def clear(self) -> None:
        """Forget all that was to be done."""
        self._waiting.clear()

    def died(self, left: Bundle, *, begun: bool, again: bool, how: str) -> Iterator[Done]:
        """Yield what fails because a worker ended before its jobs, and have the others done.

        Args:
            left: the jobs that had not ended.
            begun: whether it had begun with them.
            again: whether another worker died of them before.
            how: how it ended.
        """
        if not left:
            _log.info("an idle %s ended %s", self._worker, how)
        elif not again:
            _log.warning("a %s ended %s: %d jobs are done again", self._worker, how, len(left))
            self._waiting.append(Part(left, again=True))
        elif not begun:
            yield from all_fail(left, f"two {self._worker}es ended before they began with this, the latter {how}")
        else:

            def crashed(job: AnyJob) -> Exception:
                return Crashed(f"{asked_for([job])} ended its process twice, {how}")

            yield from self._blame(left, crashed, again=True)

    def overdue(self, left: Bundle, *, begun: bool, again: bool, limit: float) -> Iterator[Done]:
        """Yield what fails because a worker took longer than ``limit`` seconds and was ended; see :meth:`died`."""
        _log.warning("a %s has not ended %s in %g s and is killed", self._worker, asked_for(left), limit)
        if begun:
            yield from self._blame(left, lambda job: timed_out([job], limit), again=False)
        elif again:
            yield from all_fail(left, f"two {self._worker}es have not even begun with this in time")
        else:
            self._waiting.append(Part(left, again=True))

    def _blame(self, left: Bundle, error: Callable[[AnyJob], Exception], *, again: bool) -> Iterator[Done]:
        """Yield the job that a worker was at as failed, or halve the stack that it was at; do all others again."""
        guilty = under_way(left)
        innocent = [job for job in left if job not in guilty]
        if len(guilty) == 1:
            yield guilty[0], Failed(error(guilty[0]))
        else:
            self._waiting.extend(Part(part, again) for part in halves(guilty))
        if innocent:
            self._waiting.append(Part(innocent))


def all_fail(jobs: Bundle, why: str) -> Iterator[Done]:
    """Yield all of some jobs as failed for one reason."""
    for job in jobs:
        yield job, Failed(RuntimeError(why))
