"""One circuit of one job while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pennylane_qexec.engine import AskedFuture
from pennylane_qexec.errors import ExecutorError
from pennylane_qexec.experiment.forms import Form, Part
from pennylane_qexec.experiment.record import Record
from pennylane_qexec.job import JobState, Outcome, Result
from pennylane_qexec.providers import Backend
from pennylane_qexec.scrubbing import scrub

_LONGEST = 400


@dataclass(eq=False)
class Entry:
    """One circuit of one job: what is asked, and what has become of it until now. Changed by the run alone.

    Attributes:
        job: number of the job.
        circuit: number of the circuit.
        backend: where it runs.
        shots: how many are asked for; ``None`` for an analytic circuit.
        config: options of the backend.
        form: how the circuit is run.
        share: number of the share among those of the circuit.
        instead_of: the entry whose failed shots these are.
        state: what has become of it.
        part: what came back.
        outcomes: who ran it, when, at what cost.
        error: why it failed.
        batches: with how many others it shared its batches.
        futures: of its circuits, once they are sent.
        sent: when it was sent to its executor; UTC, in seconds since 1970, 0 if it was not.
        ended: when it came to its end.
        moved: entries that run its shots again, since it has failed.
        guests: entries that run failed shots of the same circuit on this one's backend.
        host: the entry that it is a guest of; in results, it is part of that.
    """

    job: int
    circuit: int
    backend: Backend
    shots: int | None
    config: Mapping[str, Any]
    form: Form
    share: int = 0
    instead_of: Entry | None = None
    state: JobState = JobState.WAITING
    part: Part | None = None
    outcomes: tuple[Outcome, ...] = ()
    error: BaseException | None = None
    batches: dict[tuple[str, int], int] = field(default_factory=dict)
    futures: Sequence[AskedFuture[Outcome]] = ()
    sent: float = 0.0
    ended: float = 0.0
    moved: list[Entry] = field(default_factory=list)
    guests: list[Entry] = field(default_factory=list)
    host: Entry | None = None

    @property
    def place(self) -> str:
        """The backend's full name."""
        return str(self.backend)

    @property
    def done(self) -> bool:
        """Whether it has a result."""
        return self.state is JobState.DONE

    @property
    def made_good(self) -> bool:
        """Whether all its shots were run: here, or elsewhere after it had failed here."""
        return self.done or (bool(self.moved) and all(entry.made_good for entry in self.moved))

    @property
    def parts(self) -> list[Part]:
        """What came back of its own shots, and of its guests'."""
        own = [self.part] if self.part is not None else []
        return own + [guest.part for guest in self.guests if guest.part is not None]

    def result(self) -> Result:
        """The result of all its parts together; ``None`` if there are none."""
        parts = self.parts
        return self.form.joined(parts) if parts else None

    def record(self) -> Record:
        """It as it is now."""
        outcomes = self.outcomes
        began = min((future.started for future in self.futures if future.started is not None), default=0.0)
        seconds = [(one.finished - one.started) / self.batches.get((one.executor, one.batch), 1) for one in outcomes]
        return Record(
            job=self.job,
            circuit=self.circuit,
            provider=self.backend.provider,
            backend=self.backend.name,
            shots=self.shots or 0,
            state=JobState.RUNNING if began and not self.state.final else self.state,
            result=self.form.joined([self.part]) if self.part is not None else None,
            submitted=min((one.submitted for one in outcomes), default=self.sent),
            started=min((one.started for one in outcomes), default=began),
            finished=max((one.finished for one in outcomes), default=self.ended),
            seconds=sum(seconds),
            cost=sum(one.cost for one in outcomes),
            attempt=max((one.attempt for one in outcomes), default=_attempts(self.error)),
            error=None if self.error is None else in_words(self.error),
            instead_of=None if self.instead_of is None else self.instead_of.place,
        )


def in_words(error: BaseException) -> str:
    """An error in one line of some length; for what an executor raised, that."""
    if isinstance(error, ExecutorError):
        error = error.cause
    words = scrub(f"{type(error).__name__}: {' '.join(str(error).split())}")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def _attempts(error: BaseException | None) -> int:
    return error.attempt if isinstance(error, ExecutorError) else 0
