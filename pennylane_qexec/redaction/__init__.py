"""Secrets: remembered as such, and taken out of every text that leaves: errors, logs, histories, stores, files."""

from pennylane_qexec.redaction.exceptions import chain, install, veiled, without_frames, without_secrets
from pennylane_qexec.redaction.known import Hidden, has_secret, hidden, know, know_named, know_url, scrub
from pennylane_qexec.redaction.named import SHOWN, is_secret, is_secret_option, scrub_argv, without_secret_values

__all__ = [
    "SHOWN",
    "Hidden",
    "chain",
    "has_secret",
    "hidden",
    "is_secret",
    "is_secret_option",
    "know",
    "know_named",
    "know_url",
    "scrub",
    "scrub_argv",
    "veiled",
    "without_frames",
    "without_secret_values",
    "without_secrets",
]

install()
