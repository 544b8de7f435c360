"""Logs of a server: one JSON object on each line, without secrets."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from pennylane_qexec.redaction import scrub

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What every record has; the rest was given by ``extra=``."""


_CONTROLS = re.compile("[\x7f-\x9f\u2028\u2029]")
"""Ends of lines, and commands to a terminal, that JSON lets stand as they are."""


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object; what ``extra=`` gave is in it under its names."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _CONTROLS.sub(_escaped, scrub(json.dumps(line, default=str, ensure_ascii=False)))


def _escaped(control: re.Match[str]) -> str:
    return f"\\u{ord(control[0]):04x}"


def configure_logs(level: str) -> None:
    """Write the logs of this package and of uvicorn to the standard error, as JSON.

    Args:
        level: lowest level that is written.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    for name in ("pennylane_qexec", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)
