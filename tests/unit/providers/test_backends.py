"""Backends: what they tell of themselves, the executors they make, and how they refuse."""

from __future__ import annotations

from functools import partial

import cloudpickle
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Status
from pennylane_qexec.providers import Backend

QUIET = partial(qexec.DeviceExecutor, "default.qubit")
ONE = QuantumScript([qml.X("a")], [qml.counts(wires=["b", "a"])], shots=7)


def test_a_backend_makes_a_new_executor_each_time_that_is_called_like_it() -> None:
    backend = Backend("mine", "quiet", QUIET)
    one, other = backend.executor(seed=1, max_shots=10), backend.executor()
    assert one is not other
    assert (one.name, one.max_shots, other.max_shots) == ("mine/quiet", 10, None)
    assert one.run([ONE]) == [{"01": 7}]


def test_a_backend_says_what_it_is_and_shows_nothing_else() -> None:
    backend = Backend("mine", "quiet", QUIET, kind="QPU", num_qubits=lambda: 5)
    assert (str(backend), repr(backend)) == ("mine/quiet", "<Backend 'mine/quiet' (QPU)>")
    assert (backend.num_qubits, backend.online, backend.asks) == (5, True, False)


def test_a_backend_is_online_if_it_says_so_when_it_is_asked() -> None:
    answers = iter([Status(online=False), Status(queue_length=3)])
    backend = Backend("mine", "moody", QUIET, ask=lambda: next(answers))
    assert not backend.online
    assert backend.status() == Status(queue_length=3)


def test_the_same_backend_under_another_name_makes_executors_of_that_name() -> None:
    backend = Backend("mine", "quiet", QUIET, num_qubits=3).under("yours", "loud")
    assert (str(backend), backend.executor().name, backend.num_qubits) == ("yours/loud", "yours/loud", 3)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"sed": 1}, "no option of backend 'mine/plain' is called 'sed'. Did you mean 'seed'? Known: noise, seed."),
        ({"seed": "x"}, "seed='x' must be a whole number of at least 0, or None."),
        ({"seed": -1}, "seed=-1 must be a whole number"),
        ({"name": "n"}, "takes no option name='n': executors of backends are called 'provider/backend'"),
        ({"shots": 5}, "takes no option shots=5: the number of shots goes with the circuit, or with the job"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_made(config: dict[str, object], words: str) -> None:
    made = []

    def make(*, seed: int | None = None, noise: float = 0.0) -> qexec.Executor:
        made.append(seed)
        return QUIET()

    with pytest.raises(qexec.ConfigurationError) as caught:
        Backend("mine", "plain", make).executor(**config)
    assert words in str(caught.value)
    assert made == []


def test_what_takes_any_option_is_asked_by_making_it() -> None:
    def make(**options: object) -> qexec.Executor:
        raise TypeError(f"got an unexpected keyword argument {next(iter(options))!r}")

    with pytest.raises(qexec.ConfigurationError, match=r"backend 'mine/any' with the options \['colour'\]: got an"):
        Backend("mine", "any", make).executor(colour="red")


def test_a_mistake_within_what_makes_executors_is_not_taken_for_wrong_options() -> None:
    def make(seed: int | None = None) -> qexec.Executor:
        raise TypeError("unsupported operand type(s) for +: 'int' and 'str'")

    with pytest.raises(TypeError, match="unsupported operand"):
        Backend("mine", "broken", make).executor(seed=1)


def test_what_makes_no_executor_is_no_backend() -> None:
    with pytest.raises(qexec.ConfigurationError, match="'mine/odd' made 5, which is no Executor"):
        Backend("mine", "odd", lambda: 5).executor()  # type: ignore[arg-type,return-value]


def test_an_executor_of_a_class_that_only_this_program_knows_runs_after_it_was_sent() -> None:
    class Always(qexec.Executor):
        def run(self, circuits):  # type: ignore[no-untyped-def]
            return [{"1": circuit.shots.total_shots} for circuit in circuits]

    made = Backend("mine", "always", Always).executor(workers=2)
    sent = cloudpickle.loads(cloudpickle.dumps(made))
    assert (sent.name, sent.workers, sent.run([ONE])) == ("mine/always", 2, [{"1": 7}])
