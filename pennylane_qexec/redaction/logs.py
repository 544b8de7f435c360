"""What is logged, without secrets."""

from __future__ import annotations

import logging

from pennylane_qexec.redaction.exceptions import without_secrets
from pennylane_qexec.redaction.known import scrub


class _WithoutSecrets(logging.Filter):
    """Takes secrets out of records, before any handler sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; one that shows a secret, without it."""
        said = record.getMessage()
        scrubbed = scrub(said)
        if scrubbed != said:
            record.msg, record.args = scrubbed, None
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            safe = without_secrets(error)
            record.exc_info = (type(safe), safe, safe.__traceback__)
        return True


_filter = _WithoutSecrets()


def install() -> None:
    """Have this package log without secrets."""
    logging.getLogger("pennylane_qexec").addFilter(_filter)
