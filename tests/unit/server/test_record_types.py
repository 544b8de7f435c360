"""What is known of sessions and jobs from their records alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pennylane_qexec.server.records import JobStatus, ServerSession, SessionMode, SessionState

SESSION = ServerSession("s", "ann", "aer", SessionMode.DEDICATED, max_ttl=1000.0, interactive_ttl=60.0, created=100.0)


def test_a_job_that_waits_or_runs_has_no_final_status() -> None:
    assert [status for status in JobStatus if not status.final] == ["Queued", "Running"]


def test_a_session_is_open_until_its_first_job_begins() -> None:
    assert SESSION.state(200.0) is SessionState.OPEN
    assert SESSION.accepting_jobs(200.0)
    assert replace(SESSION, activated=150.0, unfinished=1).state(200.0) is SessionState.ACTIVE


def test_a_session_that_nobody_uses_is_closed_after_its_time_but_not_while_its_first_job_waits() -> None:
    assert SESSION.state(1100.0) is SessionState.CLOSED
    assert replace(SESSION, unfinished=1).state(1100.0) is SessionState.OPEN


def test_a_session_without_jobs_is_inactive_after_its_interactive_ttl() -> None:
    session = replace(SESSION, activated=150.0, last_job_completed=200.0)
    assert session.state(259.0) is SessionState.ACTIVE
    assert session.state(260.0) is SessionState.INACTIVE
    assert session.accepting_jobs(260.0)
    assert replace(session, unfinished=1).state(500.0) is SessionState.ACTIVE


def test_a_session_ends_at_its_max_ttl_whatever_runs() -> None:
    session = replace(SESSION, activated=150.0, unfinished=1)
    assert session.active_ttl(1000.0) == 150.0
    assert (session.state(1149.0), session.closed_at(1149.0)) == (SessionState.ACTIVE, None)
    assert (session.state(1150.0), session.closed_at(1200.0)) == (SessionState.CLOSED, 1150.0)
    assert session.active_ttl(1200.0) == 0.0
    assert not session.accepting_jobs(1150.0)


def test_a_session_told_to_take_no_more_jobs_is_closed_with_the_last_one() -> None:
    stopped = replace(SESSION, activated=150.0, stopped=170.0, unfinished=1)
    assert stopped.state(180.0) is SessionState.ACTIVE
    assert not stopped.accepting_jobs(180.0)
    ended = replace(stopped, unfinished=0, last_job_completed=190.0)
    assert (ended.state(195.0), ended.closed_at(195.0)) == (SessionState.CLOSED, 190.0)


@pytest.mark.parametrize(("mode", "used"), [(SessionMode.BATCH, 7.0), (SessionMode.DEDICATED, 50.0)])
def test_a_batch_uses_what_its_jobs_use_and_a_session_the_time_it_is_active(mode: SessionMode, used: float) -> None:
    session = replace(SESSION, mode=mode, activated=150.0, last_job_completed=200.0, seconds=7.0)
    assert session.usage(1e6) == used
