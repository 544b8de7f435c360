"""PennyLane devices that run circuits with numbers: each circuit draws from the stream of its number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pennylane.devices import Device, ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors import broadcasting, legacy, mid_circuit
from pennylane_qexec.executors.numbering import Numbering, goes_to_places, place_of
from pennylane_qexec.executors.sources import BuiltDevices, GivenDevice
from pennylane_qexec.executors.turns import Places
from pennylane_qexec.job import Result


def execute(
    device: Device,
    circuits: Sequence[QuantumScript],
    config: ExecutionConfig,
    numbers: Sequence[int],
    numbering: Numbering,
    source: BuiltDevices | GivenDevice,
) -> list[Result]:
    """Run circuits that have numbers.

    A device that draws from a generator of NumPy goes to the circuits' places in a stream, and afterwards on in its
    own. Simulators of other libraries get a seed for each circuit. Any other device is built anew for each circuit.

    Args:
        device: the device.
        circuits: circuits that went through the device's own program.
        config: the configuration of that program.
        numbers: of the circuits.
        numbering: the streams that they have.
        source: where the device comes from.

    Returns:
        For each circuit what the device returns for it.
    """
    generator = vars(device).get("_rng")
    if goes_to_places(generator):
        with _kept(device, generator):
            places = Places(numbering.stream(generator), [place_of(number) for number in numbers])
            return broadcasting.execute(device, circuits, config, places=places)
    results: list[Result] = []
    for circuit, number in zip(circuits, numbers, strict=True):
        with legacy.drawing_by(device, numbering.seed(number)) as known:
            used = device if known else source.with_seed(circuit, numbering.small_seed(number))
            results += mid_circuit.execute(used, (circuit,), config)
    return results


@contextmanager
def _kept(device: Any, generator: np.random.Generator) -> Iterator[None]:
    """The device draws afterwards as if it had not drawn in between."""
    bits: Any = generator.bit_generator
    state = bits.state
    try:
        yield
    finally:
        bits.state = state
        device._rng = generator
