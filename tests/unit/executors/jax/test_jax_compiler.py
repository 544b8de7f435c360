"""Compiling in the background: tasks in turn, and programs that end meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from fakes import programs

from pennylane_qexec.executors.jax.compiler import CompileQueue

COMPILES = """
import sys
import jax
import pennylane as qml
from pennylane_qexec.executors.jax import JaxExecutor
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
executor = JaxExecutor(compile=sys.argv[1], cache=sys.argv[2])
circuit = lambda x: qml.tape.QuantumScript([qml.RX(x, 0), qml.CNOT([0, 1]), qml.RY(x, 1)], [qml.expval(qml.Z(1))])
executor.run([circuit(0.1 * number) for number in range(20)])
print(executor.compiled)
"""


def leaves(compile: str, folder: Path) -> str:
    """What a program prints that compiles and ends; it must end well."""
    done = programs.run(COMPILES, compile, str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def test_tasks_are_done_in_turn_in_another_thread() -> None:
    workshop, done = CompileQueue(), list[tuple[int, int]]()
    for number in range(3):
        workshop.add(number, lambda number=number: done.append((number, threading.get_ident())))  # type: ignore[misc]
    assert workshop.wait()
    assert [number for number, _ in done] == [0, 1, 2]
    assert threading.get_ident() not in {thread for _, thread in done}


def test_what_is_being_done_is_not_added_again_and_what_has_not_begun_can_be_forgotten() -> None:
    workshop, done = CompileQueue(), list[int]()
    begun, gate = threading.Event(), threading.Event()

    def first() -> None:
        begun.set()
        gate.wait()
        done.append(1)

    workshop.add(1, first)
    begun.wait()
    workshop.add(1, lambda: done.append(1))
    workshop.add(2, lambda: done.append(2))
    workshop.close()
    gate.set()
    assert workshop.wait()
    assert done == [1]


@pytest.mark.slow
def test_a_program_that_ends_while_something_is_compiled_ends_well(tmp_path: Path) -> None:
    assert leaves("background", tmp_path) == "0"


@pytest.mark.slow
def test_the_next_process_finds_on_disk_what_was_compiled(tmp_path: Path) -> None:
    assert leaves("now", tmp_path) == "1"
    kept = sorted(path.name for path in tmp_path.iterdir() if path.name.endswith("-cache"))
    assert any("jit_function" in name for name in kept)
    assert leaves("now", tmp_path) == "1"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.endswith("-cache")) == kept
