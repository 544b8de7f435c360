"""What servers record of sessions, in both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.postgresql import PostgresServer

from pennylane_qexec.server.records import (
    JobStatus,
    NewServerJob,
    NewServerSession,
    Records,
    ServerSession,
    SessionMode,
    SessionRefusedError,
    SessionState,
    User,
    open_records,
)
from pennylane_qexec.testing.stores.jobs import ManualClock

ANN, ROOT = User("ann"), User("root", admin=True)
START = 1000.0


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.integration)])
def records(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Records]:
    """Records with the session ``"s"`` of Ann's, and jobs of it waiting: ``"a"`` and ``"b"``."""
    is_file = request.param == "sqlite"
    place = str(tmp_path / "store.db") if is_file else request.getfixturevalue("postgres").new_place()
    with open_records(place, clock=clock) as opened:
        session = NewServerSession(
            "s", "ann", "ideal", SessionMode.DEDICATED, max_ttl=500.0, interactive_ttl=60.0, instance="crn:local"
        )
        opened.add_session(session)
        for job in ("a", "b"):
            submit(opened, job)
        yield opened


def submit(records: Records, job: str, session: str | None = "s", user: str = "ann", backend: str = "ideal") -> None:
    records.add(NewServerJob(job, user, "sampler", backend, session=session), b"{}", 1000)


def run(records: Records, job: str, clock: ManualClock, seconds: float = 10.0) -> None:
    records.claim([job])
    clock.now += seconds
    assert records.finish(job, JobStatus.COMPLETED, "result", seconds=seconds / 2)


def session(records: Records) -> ServerSession:
    found = records.session("s", ANN)
    assert found is not None
    return found


def state(records: Records, clock: ManualClock) -> SessionState:
    return session(records).state(clock.now)


def test_a_session_lives_through_its_states(records: Records, clock: ManualClock) -> None:
    assert state(records, clock) is SessionState.OPEN
    clock.now += 5
    run(records, "a", clock)
    found = session(records)
    assert (found.instance, found.mode, found.unfinished) == ("crn:local", SessionMode.DEDICATED, 1)
    assert (found.created, found.activated, found.last_job_completed) == (START, START + 5, START + 15)
    run(records, "b", clock)
    assert (session(records).activated, session(records).last_job_started) == (START + 5, START + 15)
    assert session(records).seconds == 10.0
    assert state(records, clock) is SessionState.ACTIVE
    clock.now += 60
    assert state(records, clock) is SessionState.INACTIVE
    submit(records, "c")
    assert state(records, clock) is SessionState.ACTIVE
    assert records.update_session("s", ANN, accepting_jobs=False)
    assert state(records, clock) is SessionState.ACTIVE
    run(records, "c", clock)
    assert state(records, clock) is SessionState.CLOSED
    stopped, ended = session(records).stopped, clock.now
    clock.now += 7
    assert records.close_session("s", ANN) == records.expire_sessions() == []
    assert (session(records).stopped, session(records).closed) == (stopped, ended)


def test_a_session_that_takes_no_more_jobs_finishes_those_it_has_and_may_take_some_again(records: Records) -> None:
    records.update_session("s", ANN, accepting_jobs=False)
    with pytest.raises(SessionRefusedError, match="the session 's' is closed and takes no more jobs"):
        submit(records, "c")
    assert [job.id for job in records.queued(10)] == ["a", "b"]
    records.update_session("s", ROOT, accepting_jobs=True)
    submit(records, "c")


def test_closing_a_session_cancels_its_jobs_that_wait(records: Records, clock: ManualClock) -> None:
    submit(records, "other", session=None)
    records.claim(["a"])
    assert records.close_session("s", ANN) == ["b"]
    assert (state(records, clock), session(records).closed) == (SessionState.CLOSED, START)
    assert {job: status for job, (status, _) in records.watch(["a", "b", "other"]).items()} == {
        "a": JobStatus.RUNNING,
        "b": JobStatus.CANCELLED,
        "other": JobStatus.QUEUED,
    }
    clock.now += 1
    assert records.close_session("s", ANN) == []
    records.update_session("s", ANN, accepting_jobs=True)
    assert (state(records, clock), session(records).closed) == (SessionState.CLOSED, START)
    with pytest.raises(SessionRefusedError):
        submit(records, "c")


def test_a_session_is_closed_when_its_time_is_over_and_its_jobs_that_wait_are_cancelled(
    records: Records, clock: ManualClock
) -> None:
    records.claim(["a"])
    clock.now += 499
    assert records.expire_sessions() == []
    clock.now += 2
    assert state(records, clock) is SessionState.CLOSED
    with pytest.raises(SessionRefusedError):
        submit(records, "c")
    assert records.expire_sessions() == ["b"]
    assert session(records).closed == START + 500
    assert records.finish("a", JobStatus.COMPLETED, "it ran already")


def test_a_session_takes_only_its_users_jobs_for_its_backend(records: Records) -> None:
    with pytest.raises(SessionRefusedError, match="the session 's' does not exist"):
        submit(records, "c", user="bob")
    with pytest.raises(SessionRefusedError, match="'nobodys' does not exist"):
        submit(records, "c", session="nobodys")
    with pytest.raises(SessionRefusedError, match="is of the backend 'ideal', not 'fake_kyiv'"):
        submit(records, "c", backend="fake_kyiv")
    assert records.job("c", ROOT) is None


def test_sessions_are_listed_from_the_newest_on(records: Records, clock: ManualClock) -> None:
    clock.now += 1
    records.add_session(NewServerSession("t", "bob", "ideal", SessionMode.BATCH))
    records.add_session(NewServerSession("s", "bob", "other", SessionMode.BATCH))  # which is there
    assert [found.id for found in records.sessions(ROOT)] == ["t", "s"]
    assert [found.id for found in records.sessions(ROOT, limit=1, offset=1)] == ["s"]
    assert [found.backend for found in records.sessions(ANN)] == ["ideal"]
