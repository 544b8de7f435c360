"""Logs and metrics of a server."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator

import pytest

from pennylane_qexec.redaction import know
from pennylane_qexec.server.logs import JsonFormatter, configure_logs
from pennylane_qexec.server.metrics import Metrics


@pytest.fixture
def _loggers() -> Iterator[None]:
    before = {name: dict(vars(logging.getLogger(name))) for name in ("pennylane_qexec", "uvicorn")}
    yield
    for name, state in before.items():
        vars(logging.getLogger(name)).update(state)
        logging.getLogger(name).setLevel(state["level"])


def test_a_log_has_no_secrets_and_each_record_is_one_line() -> None:
    know("a secret of a provider")
    try:
        raise ValueError("a secret of a provider\nis wrong")
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
    record = logging.LogRecord("pennylane_qexec", logging.ERROR, "", 0, "failed: %s", ("é\n",), info)
    line = JsonFormatter().format(record)
    assert "\n" not in line
    assert "a secret of a provider" not in line
    assert json.loads(line)["message"] == "failed: é\n"
    assert "ValueError" in json.loads(line)["error"]


@pytest.mark.usefixtures("_loggers")
def test_logs_are_json_on_the_standard_error_from_a_level_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    configure_logs("WARNING")
    logging.getLogger("pennylane_qexec.server").info("not this")
    logging.getLogger("uvicorn.error").warning("this", extra={"port": 8000})
    (line,) = sys.stderr.getvalue().splitlines()  # type: ignore[attr-defined]
    said = json.loads(line)
    assert (said["level"], said["logger"], said["message"], said["port"]) == ("WARNING", "uvicorn.error", "this", 8000)


def test_two_servers_of_one_process_count_for_themselves() -> None:
    first, second = Metrics(), Metrics()
    first.submitted.labels("sampler").inc()
    assert b'qexec_jobs_submitted_total{program="sampler"} 1.0' in first.text()
    assert b"sampler" not in second.text()
