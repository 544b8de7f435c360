"""What runs a server's jobs, made from whatever the server was given."""

import subprocess
import sys
import threading

import cloudpickle
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.server.sources import Kind, source_of, sources_of


class Vendor(qexec.Executor):
    """An executor of a user's, which waits for somebody else."""

    def run(self, circuits):
        return [1.0 for _ in circuits]


class Primitives:
    """An object as the prototype of the server has them."""

    name = "mine"

    def execute_sampler(self, pubs, options, backend_name):
        return None

    def execute_estimator(self, pubs, options, backend_name):
        return None


def make_executor(metadata):
    return qexec.AerExecutor(metadata.name)


def test_aer_runs_the_jobs_of_a_server_that_was_given_nothing():
    (source,) = sources_of().values()
    assert (source.name, source.kind, source.waits, source.noise) == ("aer", Kind.AER, False, True)


def test_each_thing_that_a_server_is_given_becomes_a_source_of_its_kind():
    cluster = qexec.QCluster(["lightning.qubit", "default.qubit"])
    given = ["aer", {"type": "aer", "precision": "single", "noise": False, "name": "single"}, "aer:fake_manila"]
    sources = sources_of([*given, Vendor(), cluster, make_executor, Primitives(), "lightning.qubit"])
    assert {name: (source.kind.value, source.waits) for name, source in sources.items()} == {
        "aer": ("aer", False),
        "single": ("aer", False),
        "aer:fake_manila": ("executor", False),
        "Vendor": ("executor", True),
        "cluster": ("executor", True),
        "make_executor": ("factory", False),
        "mine": ("primitives", False),
        "lightning.qubit": ("executor", False),
    }
    assert dict(sources["single"].options) == {"precision": "single"}
    assert not sources["single"].noise


def test_names_are_parts_of_urls_and_no_two_are_equal():
    sources = sources_of([source_of(make_executor, name="of https://lab/a@b"), Vendor(), Vendor(), "aer", "aer"])
    assert list(sources) == ["of-https:-lab-a-b", "Vendor", "Vendor-2", "aer", "aer-2"]


def test_a_string_has_several_specs_with_commas_between_them():
    assert list(sources_of("aer, lightning.qubit")) == ["aer", "lightning.qubit"]


def test_whether_a_function_waits_can_be_said():
    assert source_of(source_of(make_executor, waits=True)).waits


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (3, "3 cannot run the circuits of a server: give a spec"),
        (qexec.AerExecutor, "cannot run the circuits of a server"),
        ([], "the server has nothing to run circuits with"),
        ("aerr", "Did you mean 'aer'"),
        ({"type": "aer", "foo": 1}, "no option of AerExecutor is called 'foo'"),
        ({"type": "aer", "noise": "no"}, "noise='no' must be True"),
        (lambda metadata, lock=threading.Lock(): None, "cannot be sent to the processes"),  # noqa: B008
    ],
)
def test_what_cannot_run_circuits_is_refused_at_once(given, message):
    with pytest.raises(qexec.ConfigurationError, match=message):
        sources_of(given)


def test_an_object_given_twice_is_refused():
    executor = Vendor()
    with pytest.raises(qexec.ConfigurationError, match="given to the server twice"):
        sources_of([executor, executor])


@pytest.mark.slow
def test_a_cluster_arrives_in_its_process_with_what_is_left_of_its_budget():
    budget = qexec.Budget(shots=1000, circuits=5)
    budget.spend(budget.used._replace(shots=400))
    source = source_of(qexec.QCluster(["default.qubit"], budget=budget, split="uniform"))
    program = "import pickle, sys; s = pickle.load(sys.stdin.buffer); print(s.given.splits, s.given.budget.limits)"
    arrived = subprocess.run(
        [sys.executable, "-c", program], input=cloudpickle.dumps(source), capture_output=True, timeout=60, check=True
    )
    assert arrived.stdout.decode().strip() == "True Amounts(shots=600, circuits=5, cost=None, seconds=None)"
