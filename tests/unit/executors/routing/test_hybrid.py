"""A router: who gets a circuit, why, and that nothing else changes."""

from __future__ import annotations

import gc
import pickle
import weakref
from typing import Any

import cloudpickle
import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors import validation
from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.executors.routing.rules import BySize, Chooser, Tier, depth_of, smallest_first
from pennylane_qexec.job import Call, Work
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip


def ghz(wires: int, shots: int | None = None) -> QuantumScript:
    operations = [qml.H(0), *[qml.CNOT([wire, wire + 1]) for wire in range(wires - 1)]]
    return QuantumScript(operations, [qml.expval(qml.Z(0) @ qml.Z(1))], shots=shots)


def scripted(*names: str, **options: Any) -> list[ScriptedExecutor]:
    return [ScriptedExecutor(name, **options) for name in names]


def router(**options: Any) -> Hybrid:
    """Narrow circuits to one member, wide ones to another."""
    members = {"narrow": {"type": "default.qubit", "seed": 1}, "wide": {"type": "lightning.qubit", "seed": 2}}
    return Hybrid(members, rule=[Tier("narrow", wires=3), Tier("wide", wires=6)], **options)


# -- rules


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"wires": 3}, "takes up to 3 wires, and the circuit has 4"),
        ({"shots": 99}, "takes up to 99 shots, and the circuit has 100"),
        ({"depth": 3}, "takes up to depth 3, and the circuit has 4"),
        ({"memory": 255}, "takes up to 255 B, and the state has 256 B"),
    ],
)
def test_a_tier_says_why_a_circuit_does_not_fit(limit, reason):
    member = qexec.executor("default.qubit")
    assert Tier("default.qubit", **limit).objection(ghz(4, 100), member) == reason
    more = {name: value + 1 for name, value in limit.items()}
    assert Tier("default.qubit", **more).objection(ghz(4, 100), member) is None


def test_the_first_tier_that_fits_gets_the_circuit():
    first, second = scripted("first", "second")
    rule = BySize([Tier("second", wires=2), Tier("first", wires=4), Tier("second", wires=5)])
    assert [rule(ghz(wires), [first, second]).name for wires in (2, 3, 4, 5)] == ["second", "first", "first", "second"]


def test_a_circuit_that_fits_nowhere_is_refused_member_by_member():
    rule = BySize([Tier("first", wires=2), Tier("second", shots=10)])
    with pytest.raises(qexec.NoExecutorError) as caught:
        rule(ghz(3, 20), scripted("first", "second", "third"))
    assert caught.value.reasons == {
        "first": "takes up to 2 wires, and the circuit has 3",
        "second": "takes up to 10 shots, and the circuit has 20",
        "third": "is in no tier",
    }


def test_the_default_rule_gives_wide_circuits_to_the_gpu_and_others_to_others():
    rule = smallest_first(scripted("cpu", "lightning.gpu"), gpu_from=5)
    assert str(rule) == "cpu up to 4 wires, then lightning.gpu, then cpu"
    cpu, gpu = scripted("cpu", "lightning.gpu")
    assert rule(ghz(4), [cpu, gpu]) is cpu
    assert rule(ghz(5), [cpu, gpu]) is gpu
    assert rule(ghz(5), [cpu]) is cpu
    assert rule(ghz(4), [gpu]) is gpu


def test_what_is_free_limits_those_who_compute_here(monkeypatch):
    monkeypatch.setattr("pennylane_qexec.executors.routing.rules.free_memory", lambda: 2.0**30)
    here, there = qexec.executor("lightning.qubit"), FakeQPU()
    tiers = [Tier("lightning.qubit"), Tier("fake-qpu")]
    assert BySize(tiers)(ghz(26), [here, there]) is here
    assert BySize(tiers)(ghz(27), [here, there]) is there
    assert tiers[0].objection(ghz(27), here) == "needs 2 GiB of memory, and 1 GiB are free"


def test_a_density_matrix_takes_the_square_and_a_broadcasted_circuit_takes_it_for_each_row():
    pure, mixed = qexec.executor("default.qubit"), qexec.executor("default.mixed")
    rows = QuantumScript([qml.RX(np.zeros(5), 0), qml.CNOT([0, 1])], [qml.probs()])
    assert validation.state_bytes(pure, ghz(4)) == 16 * 2**4
    assert validation.state_bytes(mixed, ghz(4)) == 16 * 4**4
    assert validation.state_bytes(pure, rows) == 5 * 16 * 2**2
    assert validation.state_bytes(FakeQPU(), ghz(4)) == 0


@pytest.mark.parametrize(
    ("text", "number"), [("8G", 2**33), ("512 MiB", 2**29), ("1.5k", 1536), (100, 100), (None, None)]
)
def test_amounts_of_memory_are_written_as_people_write_them(text, number):
    assert validation.amount(text) == number


@pytest.mark.parametrize("wrong", ["much", "-1", "8 apples", 0, True, [8]])
def test_what_is_no_amount_of_memory_is_refused(wrong):
    with pytest.raises(qexec.ConfigurationError, match="no amount of memory"):
        Tier("cpu", memory=wrong)


def test_depth_is_that_of_the_longest_chain():
    operations = [qml.H(0), qml.H(0), qml.H(1), qml.CNOT([0, 1]), qml.H(2)]
    assert depth_of(QuantumScript(operations, [])) == 3
    assert depth_of(QuantumScript([], [])) == 0


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ([], "no tiers|without tiers"),
        ([{"member": "narow"}], "Did you mean 'narrow'"),
        ([{"member": "narrow", "wire": 3}], "Did you mean 'wires'"),
        ([{"wires": 3}], "no tier"),
        ([{"member": "narrow", "wires": 2.5}], "wires=2.5"),
        ("smallest", "no rule"),
        (5, "no rule"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule, said):
    with pytest.raises(qexec.ConfigurationError, match=said):
        Hybrid({"narrow": "default.qubit"}, rule=rule)


# -- the router


def test_it_shows_its_rule():
    assert repr(router()) == "<Hybrid 'hybrid': narrow up to 3 wires, then wide up to 6 wires>"


def test_it_explains_who_gets_a_circuit():
    assert router().explain(ghz(2)) == "2 wires, depth 2, analytic: 'narrow' gets it (narrow up to 3 wires)."
    assert router().explain(ghz(4, 10)) == (
        "4 wires, depth 4, 10 shots: 'narrow' takes up to 3 wires, and the circuit has 4; "
        "'wide' gets it (wide up to 6 wires)."
    )
    assert router().explain(ghz(7)).endswith("the circuit has 7; nobody gets it.")


def test_results_come_in_order_whoever_ran_what():
    circuits = [flip(0.0), ghz(4), flip(np.pi), ghz(5), flip(np.pi / 2)]
    assert np.allclose(router().run(circuits), [1, 1, -1, 1, 0])


def test_each_member_gets_its_circuits_in_one_batch():
    first, second = scripted("first", "second")
    hybrid = Hybrid([first, second], rule=lambda circuit, members: members[len(circuit.operations) > 1])
    hybrid.run([flip(0.1), ghz(2), flip(0.2), ghz(3)])
    assert [[len(batch) for batch in one.batches] for one in (first, second)] == [[2], [2]]


def test_members_get_no_more_circuits_or_shots_at_once_than_they_take():
    few, small = ScriptedExecutor("few", max_circuits=2), ScriptedExecutor("small", max_shots=50)
    hybrid = Hybrid([few, small], rule=[Tier("few", wires=1), Tier("small")])
    hybrid.run([flip(0.1, 20)] * 5 + [ghz(2, 20)] * 3)
    assert [len(batch) for batch in few.batches] == [2, 2, 1]
    assert [len(batch) for batch in small.batches] == [2, 1]
    assert "takes at most 50 shots" in str(hybrid.rejects(ghz(2, 51)))


def test_what_fits_nowhere_is_refused_before_anything_runs():
    first, second = scripted("first", "second")
    hybrid = Hybrid([first, second], rule=[Tier("first", wires=2), Tier("second", wires=3)])
    with qexec.QCluster([hybrid]) as cluster, pytest.raises(qexec.NoExecutorError) as caught:
        cluster.execute([ghz(2), ghz(4)])
    assert "'first' takes up to 2 wires, and the circuit has 4" in str(caught.value)
    assert "'second' takes up to 3 wires, and the circuit has 4" in str(caught.value)
    assert not first.batches
    assert not second.batches


def test_another_executor_of_the_cluster_takes_what_fits_nowhere_in_the_router(open_cluster):
    cluster = open_cluster([router(), "lightning.qubit"], selector=lambda circuit, executors: executors[0])
    assert np.allclose(cluster.execute([ghz(2), ghz(7)]), [1, 1])
    assert [row.executor for row in cluster.history] == ["hybrid", "lightning.qubit"]


@pytest.mark.parametrize("returned", [None, "narrow", qexec.executor("default.qubit")])
def test_a_rule_that_returns_no_member_is_told_so(returned):
    hybrid = Hybrid({"narrow": "default.qubit"}, rule=lambda circuit, members: returned)
    with pytest.raises(qexec.PolicyError, match="Return one of the members that it is given: 'narrow'"):
        hybrid.run([flip(0.1)])


def test_a_rule_is_asked_only_with_members_that_can():
    asked = []
    few, many = qexec.executor("default.qubit", wires=2, name="few"), qexec.executor("default.qubit", name="many")

    def rule(circuit: QuantumScript, members: Any) -> Any:
        asked.append([member.name for member in members])
        return members[0]

    Hybrid([few, many], rule=rule).run([ghz(2), ghz(3)])
    assert asked == [["few", "many"], ["many"]]


def test_circuits_stay_with_the_member_that_they_were_bound_for():
    first, second = qexec.executor("default.qubit", name="first"), qexec.executor("lightning.qubit", name="second")
    chosen = [second]
    hybrid = Hybrid([first, second], rule=lambda circuit, members: chosen[0])
    bound = hybrid.binder(ExecutionConfig(), flip(0.1))(flip(0.1))
    chosen[0] = first
    work = pickle.loads(pickle.dumps(Work(bound.circuits, Call("execute", bound.config, bound=True))))
    assert float(bound.postprocess(hybrid.perform(work))) == pytest.approx(np.cos(0.1))
    assert hybrid.charges(bound.circuits[0], work.call) is second.cost


def test_the_shots_are_those_of_the_member_that_gets_the_circuit(open_cluster):
    own = qexec.Simulator("default.qubit", parallel="auto", shots=7, name="own")
    cluster = open_cluster([Hybrid([own, "lightning.qubit"], rule=[Tier("own", wires=1), Tier("lightning.qubit")])])
    circuits = [QuantumScript([qml.H(0)], [qml.counts(wires=[0])], shots=100), ghz(2, 30)]
    counts, _ = cluster.execute(circuits)
    assert sum(counts.values()) == 7
    assert [row.shots for row in cluster.history] == [7, 30]


def test_what_a_circuit_costs_is_what_its_member_charges(open_cluster):
    cheap, dear = scripted("cheap", "dear")
    cheap.cost, dear.cost = qexec.Cost(per_circuit=1), qexec.Cost(per_circuit=5, per_shot=0.5)
    hybrid = Hybrid([cheap, dear], rule=[Tier("cheap", wires=1), Tier("dear")])
    cluster = open_cluster([hybrid])
    cluster.execute([flip(0.1, 10), ghz(2, 10)])
    assert sorted(row.cost for row in cluster.history) == [1, 10]
    assert hybrid.cost == qexec.Cost(per_circuit=5, per_shot=0.5)


def test_a_cost_of_its_own_goes_before_those_of_members(open_cluster):
    cluster = open_cluster([Hybrid(scripted("a"), cost={"per_circuit": 3})])
    cluster.execute([flip(0.1)])
    assert [row.cost for row in cluster.history] == [3]


def test_it_is_online_while_a_member_is():
    up, down = scripted("up", "down")
    down.status = lambda: qexec.Status(online=False)  # type: ignore[method-assign]
    hybrid = Hybrid([down, up])
    assert hybrid.status().online
    assert np.allclose(hybrid.run([flip(0.3)]), np.cos(0.3))
    assert not Hybrid([down]).status().online
    assert Hybrid([down]).rejects(flip(0.3)) == "has no member for it ('down' is offline)"


def test_it_computes_here_if_all_members_do():
    assert router().local
    assert router().shareable
    assert router().effort([ghz(2), ghz(4)]) > 0
    assert router().effort([ghz(9)]) == 0
    assert not Hybrid(["default.qubit", FakeQPU()]).local
    assert Hybrid(["default.qubit", FakeQPU(workers=3)]).workers == 4


def test_it_survives_the_way_to_a_worker_process():
    copy = pickle.loads(cloudpickle.dumps(router()))
    copy.become_replica(1)
    assert np.allclose(copy.run([flip(0.3), ghz(4)]), [np.cos(0.3), 1])


def test_a_router_may_be_a_member_of_another():
    inner = router(name="inner")
    outer = Hybrid([inner, "lightning.qubit"])
    circuits = [ghz(2), ghz(4), ghz(8)]
    assert np.allclose(outer.run(circuits), 1)
    with qexec.QCluster([outer]) as cluster:
        assert np.allclose(cluster.execute(circuits), 1)


def test_closing_it_closes_the_members():
    closed = []

    class Closes(ScriptedExecutor):
        def close(self) -> None:
            closed.append(self.name)

    with qexec.QCluster([Hybrid([Closes("a"), Closes("b")])]):
        pass
    assert closed == ["a", "b"]


def test_members_are_specs_of_any_kind():
    assert [member.name for member in Hybrid("default.qubit,lightning.qubit", wires=3).members] == [
        "default.qubit",
        "lightning.qubit",
    ]
    assert Hybrid("default.qubit", wires=3).wires == qml.wires.Wires(range(3))
    assert Hybrid({"type": "default.qubit", "name": "one"}).members[0].name == "one"
    with pytest.raises(qexec.ConfigurationError, match="no executors"):
        Hybrid([])


@pytest.mark.parametrize("method", ["adjoint", "parameter-shift", "best"])
@pytest.mark.parametrize("wires", [2, 4])
def test_gradients_are_those_of_the_member(open_device, method, wires):
    def ansatz(angles: Any) -> Any:
        for wire in range(wires):
            qml.RY(angles[wire], wire)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(0) @ qml.X(1))

    angles = qml.numpy.array(np.linspace(0.2, 1.1, wires), requires_grad=True)
    device = open_device([router(wires=4)], wires=4)
    got = qml.grad(qml.QNode(ansatz, device, diff_method=method))(angles)
    expected = qml.grad(qml.QNode(ansatz, qml.device("default.qubit")))(angles)
    assert np.allclose(got, expected, atol=1e-10)


def test_backpropagation_goes_through_it_if_all_members_offer_it(open_device):
    @qml.qnode(open_device([Hybrid(["default.qubit", "default.mixed"], rule=lambda circuit, members: members[0])]))
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    circuit.update(diff_method="backprop")
    assert qml.grad(circuit)(qml.numpy.array(0.4, requires_grad=True)) == pytest.approx(-np.sin(0.4))


def test_the_rule_is_a_selector_too(open_cluster):
    rule = BySize([Tier("default.qubit", wires=3), Tier("lightning.qubit")])
    cluster = open_cluster(["default.qubit", "lightning.qubit"], selector=rule)
    cluster.execute([ghz(2), ghz(4)])
    assert [row.executor for row in cluster.history] == ["default.qubit", "lightning.qubit"]


def test_a_rule_sees_the_shots_that_were_asked_whatever_the_members_own(open_device):
    members = [qexec.Simulator("default.qubit", shots=100, name="own"), qexec.executor("lightning.qubit")]
    asked: list[int | None] = []

    def rule(circuit: QuantumScript, able: Any) -> Any:
        asked.append(circuit.shots.total_shots)
        return able[0] if asked[-1] is None else able[1]

    device = open_device([Hybrid(members, rule=rule)])
    qml.execute([ghz(2)], device, diff_method=None)
    assert set(asked) == {None}
    assert [row.shots for row in device.history] == [100]


def test_a_router_keeps_no_circuit_alive_and_answers_for_another_one_anew() -> None:
    asked: list[int] = []
    first, second = scripted("first", "second")

    def rule(circuit: QuantumScript, members: Any) -> Any:
        asked.append(len(circuit.operations))
        return members[0]

    chooser = Chooser([first, second], rule, "router")
    circuit = flip(0.1)
    assert chooser(circuit) is chooser(circuit) is first
    assert len(asked) == 1
    alive = weakref.ref(circuit)
    del circuit
    gc.collect()
    assert alive() is None
    chooser(flip(0.2))
    assert len(asked) == 2
