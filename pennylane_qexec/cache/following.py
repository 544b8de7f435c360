"""Futures of circuits that are answered by another one, which runs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future

from pennylane_qexec.engine import AskedFuture
from pennylane_qexec.engine.futures import resolve
from pennylane_qexec.job import Outcome


def follow(
    twin: AskedFuture[Outcome],
    first: AskedFuture[Outcome],
    answer: Callable[[Outcome], Outcome],
    run_anew: Callable[[Callable[[], bool]], AskedFuture[Outcome]],
) -> None:
    """Let a future come to its end with another one.

    Args:
        twin: the future.
        first: the other one.
        answer: makes the outcome of that of the other one.
        run_anew: runs the circuit after all, where the other future was cancelled by itself; it is given what says
            whether somebody waits.
    """

    def ended(done: Future[Outcome]) -> None:
        if not done.cancelled():
            error = done.exception()
            resolve(twin, answer(done.result()) if error is None else error)
        elif not twin.cancelled():
            try:
                other = run_anew(lambda: twin.asked)
            except Exception as error:  # closed meanwhile, or beyond a budget
                resolve(twin, error)
                return
            twin.add_done_callback(lambda given_up: given_up.cancelled() and other.cancel())
            follow(twin, other, answer, run_anew)

    first.add_done_callback(ended)
