"""Rehearsals: any executor as a QPU in the cloud, with a queue, faults and a bill, in real or virtual time."""

from pennylane_qexec.executors.rehearsal.clocks import VirtualClock
from pennylane_qexec.executors.rehearsal.drift import Drift
from pennylane_qexec.executors.rehearsal.durations import lognormal
from pennylane_qexec.executors.rehearsal.executor import Rehearsal
from pennylane_qexec.executors.rehearsal.faults import Faults
from pennylane_qexec.executors.rehearsal.ledger import Entry, read_ledger

__all__ = ["Drift", "Entry", "Faults", "Rehearsal", "VirtualClock", "lognormal", "read_ledger"]
