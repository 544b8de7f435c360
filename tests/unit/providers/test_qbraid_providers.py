"""Providers elsewhere, as qBraid has them: what becomes a backend, and what is said when they cannot be used."""

from __future__ import annotations

from typing import Any

import pytest
from qbraid.programs import ExperimentType
from qbraid.runtime import DeviceStatus, QuantumDevice, QuantumProvider, TargetProfile

import pennylane_qexec as qexec
from pennylane_qexec.providers import VirtualProvider
from pennylane_qexec.providers.virtual import reason


class Device(QuantumDevice):  # type: ignore[misc]
    """A device that is known by its profile, and says what it is told to say."""

    def __init__(self, name: str, status: DeviceStatus, kind: ExperimentType, simulator: bool = False) -> None:
        super().__init__(TargetProfile(device_id=name, simulator=simulator, experiment_type=kind, num_qubits=3))
        self._says = status

    def status(self) -> DeviceStatus:
        return self._says

    def queue_depth(self) -> int:
        return 4

    def submit(self, run_input: Any, *arguments: Any, **options: Any) -> Any:
        raise AssertionError("nothing is sent here")


class Elsewhere(QuantumProvider):  # type: ignore[misc]
    """Two devices that run circuits, and one that does not."""

    def get_devices(self, **options: Any) -> list[QuantumDevice]:
        return [
            Device("qpu.b/1", DeviceStatus.ONLINE, ExperimentType.GATE_MODEL),
            Device("analog", DeviceStatus.ONLINE, ExperimentType.ANALOG),
            Device("a", DeviceStatus.OFFLINE, ExperimentType.GATE_MODEL, simulator=True),
        ]

    def get_device(self, device_id: str) -> QuantumDevice:
        return next(device for device in self.get_devices() if device.id == device_id)


def test_the_devices_that_run_circuits_are_backends_by_their_ids() -> None:
    virtual = VirtualProvider(providers={"there": Elsewhere()})
    backends = virtual.get_backends()["there"]
    assert {name: (one.kind, one.num_qubits) for name, one in backends.items()} == {
        "a": ("simulator", 3),
        "qpu.b/1": ("QPU", 3),
    }
    assert list(virtual.get_backends(online=True)["there"]) == ["qpu.b/1"]
    assert backends["qpu.b/1"].status().queue_length == 4


def test_an_executor_of_a_device_takes_what_it_knows_and_leaves_the_rest_to_the_device() -> None:
    backend = VirtualProvider(providers={"there": Elsewhere()}).get_backend("there", "qpu.b/1")
    made = backend.executor(seed=3, max_circuits=5, tags={"a": 1}, options={"dry_run": True})
    assert isinstance(made, qexec.QueuedExecutor)
    assert (made.name, made.backend, made.max_circuits) == ("there/qpu.b/1", "qpu.b/1", 5)
    assert made._options == {"tags": {"a": 1}, "dry_run": True}  # type: ignore[attr-defined]


def test_a_provider_without_its_package_says_what_to_install() -> None:
    virtual = VirtualProvider(providers=["local_cirq", "quantinuum"])
    assert list(virtual.get_backends()) == ["local_cirq"]
    assert virtual.errors["quantinuum"].endswith("Install what it needs with `pip install 'qbraid[quantinuum]'`.")


def test_a_provider_without_credentials_says_how_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IONQ_API_KEY", raising=False)
    with pytest.raises(
        qexec.ConfigurationError, match=r"'ionq' cannot be used: .*`qexec token set ionq`.*IONQ_API_KEY"
    ):
        VirtualProvider().get_backend("ionq", "simulator")


def test_wrong_arguments_of_a_provider_are_a_reason_that_does_not_show_them() -> None:
    virtual = VirtualProvider({"ionq": {"api_key": "sesame-open", "colour": "sesame-blue"}}, ["ionq"])
    assert virtual.get_backends() == {}
    assert "colour" in virtual.errors["ionq"]
    assert "sesame" not in virtual.errors["ionq"]


@pytest.mark.parametrize(("provider", "extra"), [("aws", "braket"), ("azure", "azure"), ("ibm", "qiskit")])
def test_the_extra_that_brings_a_provider_has_the_name_that_qbraid_gave_it(provider: str, extra: str) -> None:
    try:
        raise RuntimeError("could not be loaded") from ImportError("No module named 'sdk'")
    except RuntimeError as error:
        said = reason(provider, error)
    assert said == f"No module named 'sdk'. Install what it needs with `pip install 'qbraid[{extra}]'`."
