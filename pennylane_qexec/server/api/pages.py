"""Pages of lists of jobs: those that follow one another are of the list as it was when the first one was asked for."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace

from pennylane_qexec.server.records import JobFilter, Records, ServerJob, User

_FRESH = 60.0  # seconds in which the next page is asked for
_MOST = 1000  # pages that are expected


class Pages:
    """Gives pages of lists of jobs.

    IBM's client asks for pages by how many jobs are before them. A job that comes meanwhile would push others from one
    page to the next, and one that ends would draw them back from a list of those that have not. So what the list was is
    remembered until its next page was asked for.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected: OrderedDict[tuple[str, JobFilter], tuple[JobFilter, float]] = OrderedDict()

    def asked(self, user: User, wanted: JobFilter) -> JobFilter | None:
        """What is meant by a request for a page, if it is the next one of a list; else ``None``."""
        meant, when = self._expected.get((user.name, replace(wanted, limit=0)), (None, 0.0))
        return None if meant is None or self._clock() - when > _FRESH else replace(meant, limit=wanted.limit)

    def given(self, user: User, wanted: JobFilter, meant: JobFilter, page: Sequence[ServerJob], count: int) -> None:
        """A page was given: the next one is of the same list.

        Args:
            user: who has asked.
            wanted: what they have asked for.
            meant: what that meant.
            page: what they got.
            count: how many jobs there are on all pages.
        """
        offset = wanted.offset + len(page)
        if not page or offset >= count:
            return
        key = (user.name, replace(wanted, limit=0, offset=offset))
        self._expected[key] = replace(meant, limit=0, offset=offset), self._clock()
        self._expected.move_to_end(key)
        if len(self._expected) > _MOST:
            self._expected.popitem(last=False)


def list_now(records: Records, wanted: JobFilter) -> JobFilter:
    """What is wanted, of the list as it is now. This blocks."""
    return replace(wanted, newest=records.newest(), as_of=time.time())
