"""Rehearsals: any executor as a QPU in the cloud, with a queue, faults and a bill, in real or virtual time."""

from pennylane_qexec.executors.rehearsal.clocks import VirtualClock
from pennylane_qexec.executors.rehearsal.conditions import Drift, Faults, lognormal
from pennylane_qexec.executors.rehearsal.executor import Rehearsal
from pennylane_qexec.executors.rehearsal.records import Entry, read_ledger

__all__ = ["Drift", "Entry", "Faults", "Rehearsal", "VirtualClock", "lognormal", "read_ledger"]
