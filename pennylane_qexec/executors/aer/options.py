"""The options of Aer's simulator that users give, checked before anything is run.

Importing this imports Aer, so it is imported when the first Aer executor is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qiskit_aer import AerSimulator

from pennylane_qexec.errors import ConfigurationError, unknown

_OURS = {
    "shots": "circuits are run with their own shots: give them to the QNode with qml.set_shots",
    "seed_simulator": "give it as seed=, which makes results the same in whatever batches circuits come",
    "memory": "what is counted is all that is needed of the shots",
    "executor": "workers= and parallel= say what runs at the same time",
    "max_job_size": "batches are cut where that saves memory; max_circuits= makes them smaller",
    "max_shot_size": "max_shots= limits the shots of a batch",
}


def checked_options(options: Mapping[str, Any], backend: str | None) -> dict[str, Any]:
    """Options of ``AerSimulator`` that go together and can be had on this machine.

    Args:
        options: as the user gave them; ``"method"`` is one of them.
        backend: the name of a fake backend, which has noise of its own.

    Raises:
        ConfigurationError: there is no such option, method or device, or it is decided on elsewhere.
    """
    simulator = AerSimulator()
    known = known_options(simulator)
    for option in options:
        if option in _OURS:
            raise ConfigurationError(f"{option}={options[option]!r}: {_OURS[option]}.")
        if option not in known:
            raise ConfigurationError(unknown("option of AerExecutor", option, known))
    if options["method"] not in simulator.available_methods():
        raise ConfigurationError(unknown("method of Aer", options["method"], simulator.available_methods()))
    device = options.get("device", "CPU")
    if device not in simulator.available_devices():
        raise ConfigurationError(
            f"device={device!r}: Aer has {', '.join(simulator.available_devices())} here. For 'GPU' install "
            "qiskit-aer-gpu in place of qiskit-aer, on a machine with a GPU."
        )
    if backend and options.get("noise_model") is not None:
        raise ConfigurationError(f"noise_model= and backend={backend!r} were given: the backend has noise of its own.")
    return dict(options)


def known_options(simulator: AerSimulator | None = None) -> list[str]:
    """The options of ``AerSimulator`` that users may give."""
    return [option for option in vars((simulator or AerSimulator()).options) if option not in _OURS]
