"""Tokens of providers: from arguments, the system's keyring, the environment or a ``.env`` file; shown nowhere."""

from pennylane_qexec.credentials.keyring import forget, remove, store, stored
from pennylane_qexec.credentials.lookup import arguments, guarded, source
from pennylane_qexec.credentials.table import SERVER, VARIABLES, advice, argument_names, canonical
from pennylane_qexec.redaction import Hidden, hidden, scrub

__all__ = [
    "SERVER",
    "VARIABLES",
    "Hidden",
    "advice",
    "argument_names",
    "arguments",
    "canonical",
    "forget",
    "guarded",
    "hidden",
    "remove",
    "scrub",
    "source",
    "store",
    "stored",
]
