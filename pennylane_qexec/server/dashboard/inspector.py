"""Looks into circuits and results for pages: in a process of its own, with bounds on memory and time.

What users have sent may be anything, and PennyLane and Qiskit take a second and a hundred megabytes to import.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, final

from pennylane_qexec.errors import QExecError, StoreError

_SECONDS, _TO_START = 20.0, 120.0
_MEMORY = 2_000_000_000  # bytes that it may take beside what it has after importing
_REMEMBERED = 200


@final
class Inspector:
    """Calls functions in a process that is started when it is first needed, and again after one that hung or died."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._turn = asyncio.Lock()
        self._answers: OrderedDict[Any, Any] = OrderedDict()

    async def ask(self, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        """What a function returns.

        Args:
            key: equal for equal questions: the last answers are remembered.
            function: of a module, which the process can import.
            *args: for it.

        Raises:
            StoreError: what it was to look into is damaged, too large, or takes too long.
        """
        if key in self._answers:
            self._answers.move_to_end(key)
            return self._answers[key]
        async with self._turn:
            answer = await self._asked(function, args)
        self._answers[key] = answer
        if len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    async def _asked(self, function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        try:
            if self._pool is None:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPoolExecutor(1, context, initializer=_bound_memory)
                await asyncio.wait_for(asyncio.wrap_future(self._pool.submit(int)), _TO_START)
            future = self._pool.submit(function, *args)
            return await asyncio.wait_for(asyncio.wrap_future(future), _SECONDS)
        except TimeoutError:
            self._end()
            raise StoreError(f"looking into this takes more than {_SECONDS:.0f} seconds.") from None
        except BrokenProcessPool:
            self._end()
            raise StoreError("looking into this takes too much memory.") from None
        except QExecError:
            raise
        except Exception as error:
            raise StoreError(f"this cannot be shown: {type(error).__name__}: {error}") from None

    def _end(self) -> None:
        pool, self._pool = self._pool, None
        if pool is not None:
            for process in list((pool._processes or {}).values()):
                process.kill()
            pool.shutdown(wait=False, cancel_futures=True)

    def close(self) -> None:
        """End the process."""
        self._end()


def _bound_memory() -> None:
    import resource

    import pennylane  # noqa: F401
    import psutil

    most = psutil.Process().memory_info().vms + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
