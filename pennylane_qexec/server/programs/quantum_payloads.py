"""Payloads of the program ``executor``, decoded within limits. They may come from anybody: nothing in them is executed.

They have the form of IBM's ``ibm_quantum_schemas``. Importing this imports Qiskit.
"""

from __future__ import annotations

import base64
import functools
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel, PauliLindbladMapModel
from ibm_quantum_schemas.executor.version_2_0.models import CircuitItemModel, ParamsModel, SamplexItemModel
from pydantic import ValidationError
from qiskit import QuantumCircuit

from pennylane_qexec.concurrency.thread_pool import tamed
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import newer_qpy
from pennylane_qexec.server.programs.circuit_sizes import check_circuits, check_qpy
from pennylane_qexec.server.programs.options import EXECUTOR, check_params
from pennylane_qexec.server.programs.payloads import bounded_memory, decompressed, reading
from pennylane_qexec.server.programs.pubs import check_amounts, check_registers
from pennylane_qexec.server.programs.quantum_programs import CircuitItem, Item, QuantumProgram, SamplexItem
from pennylane_qexec.server.programs.tasks import INVALID, ProgramError


def decoded(payload: bytes, limits: Limits) -> QuantumProgram:
    """The quantum program of a job.

    Args:
        payload: JSON as IBM's client encodes it.
        limits: how large it may be.

    Raises:
        ProgramError: it cannot be read, is not valid, or is too large.
        ConfigurationError: it has an option that cannot be honoured.
    """
    with reading(limits):
        params = json.loads(payload)
        check_params(EXECUTOR, params)
        said = params["quantum_program"]
        circuits = _checked(said, limits)
        with bounded_memory(limits.memory):
            changed = {"circuits": _readable(said["circuits"], circuits, limits), "passthrough_data": None}
            params = {**params, "quantum_program": {**said, **changed}}  # what is passed through is not decoded
            items = tamed(functools.partial(_items, params, limits))  # Rust may panic
        check_amounts(((math.prod(one.shape), said["shots"], one.circuit.num_clbits) for one in items), limits)
        seed = ((params.get("options") or {}).get("experimental") or {}).get("seed_simulator")
        return QuantumProgram(items, said["shots"], seed, said.get("passthrough_data"), said.get("semantic_role"))


def _items(params: Mapping[str, Any], limits: Limits) -> tuple[Item, ...]:
    try:
        program = ParamsModel.model_validate(params).quantum_program
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ProgramError(f"the payload is not valid: {place}: {first['msg']}.", INVALID) from None
    circuits = program.circuits.to_python()
    check_circuits(circuits, limits)
    return tuple(
        _item(number, circuit, one) for number, (circuit, one) in enumerate(zip(circuits, program.items, strict=True))
    )


def _item(number: int, circuit: QuantumCircuit, model: CircuitItemModel | SamplexItemModel) -> Item:
    if not isinstance(circuit, QuantumCircuit) or not circuit.cregs:
        raise ProgramError(f"item {number}: its circuit has no classical register, and so measures nothing.", INVALID)
    check_registers(f"item {number}", circuit)
    try:
        item = _circuit_item(circuit, model) if isinstance(model, CircuitItemModel) else _samplex_item(circuit, model)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ProgramError(f"item {number} is not valid: {' '.join(str(error).split())[:300]}", INVALID) from error
    if min(item.shape, default=1) < 1:
        raise ProgramError(f"item {number} is of shape {item.shape}, and so asks for nothing.", INVALID)
    return item


def _circuit_item(circuit: QuantumCircuit, model: CircuitItemModel) -> CircuitItem:
    values = model.circuit_arguments.to_numpy()
    if values.ndim == 0 or values.shape[-1] != circuit.num_parameters:
        raise ValueError(f"values of shape {values.shape} are given for {circuit.num_parameters} parameters.")
    shape = np.broadcast_shapes(tuple(model.shape), values.shape[:-1])
    return CircuitItem(circuit, np.broadcast_to(values, (*shape, values.shape[-1])))


def _samplex_item(circuit: QuantumCircuit, model: SamplexItemModel) -> SamplexItem:
    samplex = model.samplex.to_samplex().finalize()
    arguments = samplex.inputs().make_broadcastable()
    for name, value in model.samplex_arguments.items():
        if isinstance(value, CompressedTensorModel):
            value = value.to_numpy()
        elif isinstance(value, PauliLindbladMapModel):
            value = value.to_pauli_lindblad_map()
        arguments[name] = value
    if not arguments.fully_bound:
        raise ValueError(f"arguments of its samplex are missing: {arguments.describe(include_bound=False)}")
    shape = np.broadcast_shapes(tuple(model.shape), arguments.shape)
    return SamplexItem(circuit, samplex, arguments, shape)


def _readable(said: Mapping[str, Any], content: bytes, limits: Limits) -> Mapping[str, Any]:
    """Circuits as they came, or in a version of QPY that is read here."""
    found = newer_qpy.readable(content, limits)
    if found == content:
        return said
    data = base64.b64encode(zlib.compress(found, 1)).decode()
    return {**said, "b64_data": data, "qpy_version": newer_qpy.OLDER}


# Sizes


def _checked(said: Mapping[str, Any], limits: Limits) -> bytes:
    """The file of the circuits, decompressed, if nothing is too large once it is decompressed, or read."""
    left = limits.decompressed
    content = decompressed(said["circuits"]["b64_data"], left, limits)
    check_qpy(content, limits, len(said["items"]))
    left -= len(content)
    for item in said["items"]:
        for data in _compressed(item):
            left -= len(decompressed(data, left, limits))
        if item["item_type"] == "samplex":
            _check_samplex(item["samplex"]["samplex_json"], limits)
    return content


def _compressed(item: Mapping[str, Any]) -> Iterator[str]:
    """The data of the arrays of an item."""
    for one in (item.get("circuit_arguments"), *(item.get("samplex_arguments") or {}).values()):
        if isinstance(one, Mapping) and "data" in one:
            yield one["data"]


def _check_samplex(text: str, limits: Limits) -> None:
    """Refuse expressions, or a graph, that would take more than a samplex has to."""
    said = json.loads(text)
    expressions = json.loads(said["attrs"]["param_table"])["circuit_base64"]
    check_qpy(base64.b64decode(expressions, validate=True), limits)
    for node in said["nodes"]:  # the graph has a place for every number up to the largest
        if (node["id"] or 0) > limits.operations:
            raise ProgramError(f"a samplex has a node number {node['id']:,}, which is too large.", INVALID)
