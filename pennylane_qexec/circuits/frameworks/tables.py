"""Parametrised circuits of Qiskit with a table of values: one circuit for each row, all of them read at once."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Number
from typing import Any

import numpy as np
from pennylane.ops import Conditional, MidMeasure
from pennylane.queuing import QueuingManager

from pennylane_qexec.circuits.frameworks.builder import Program
from pennylane_qexec.circuits.frameworks.qiskit import template_of_qiskit
from pennylane_qexec.circuits.frameworks.reading import framework_of, program_of_other, read, reader_of
from pennylane_qexec.concurrency import isolation
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Sweep

_NAMED = 6
"""How many parameters an error names."""


@dataclass(frozen=True, eq=False)
class CircuitTable:
    """A parametrised circuit of Qiskit with a table of values.

    Attributes:
        circuit: the circuit.
        parameters: its ``P`` parameters, in Qiskit's order.
        values: an array ``(R, P)``: their values in ``R`` circuits.
    """

    circuit: Any
    parameters: tuple[Any, ...]
    values: np.ndarray

    @property
    def key(self) -> Hashable:
        """Equal for tables of the same circuit with equal values, as long as the circuit is there."""
        return id(self.circuit), self.values.shape, self.values.tobytes()

    def rows(self) -> list[tuple[Any, Program]]:
        """For each row Qiskit's circuit with its values, whose name ends in the row's number, and what it says.

        Raises:
            ConfigurationError: a circuit cannot be read, or cannot have the values of a row.
        """
        bound = list(map(self._bound, range(len(self.values))))
        return list(zip(bound, self.programs(), strict=True))

    def programs(self) -> list[Program]:
        """What the circuit says with the values of each row.

        Raises:
            ConfigurationError: see :meth:`rows`.
        """
        isolation.install()
        with QueuingManager.stop_recording():
            programs = self._programs([f"{self.circuit.name}[{row}]" for row in range(len(self.values))])
        return programs or [read(self._bound(row)) for row in range(len(self.values))]

    def _bound(self, row: int) -> Any:
        from qiskit.exceptions import QiskitError

        values = dict(zip(self.parameters, self.values[row].tolist(), strict=True))
        try:
            bound = self.circuit.assign_parameters(values, flat_input=True, strict=False)  # they are checked already
        except (QiskitError, ArithmeticError, TypeError, ValueError) as error:
            raise ConfigurationError(
                f"circuit {self.circuit.name!r} cannot have the values of row {row}: {error}"
            ) from error
        bound.name = f"{self.circuit.name}[{row}]"
        return bound

    def _programs(self, names: Sequence[str]) -> list[Program] | None:
        """What the circuits of all rows say, of one that was read with expressions as numbers.

        ``None`` if they have to be read one by one, which says what is wrong with them if anything is.
        """
        from qiskit.circuit import ParameterExpression
        from qiskit.exceptions import QiskitError

        try:
            program = template_of_qiskit(self.circuit)
            operations = program.circuit.operations
            if any(isinstance(operation, Conditional | MidMeasure) for operation in operations):
                return None  # what is measured on the way is not shared between circuits
            slots = tuple(
                place
                for place, operation in enumerate(operations)
                if any(isinstance(number, ParameterExpression) for number in operation.data)
            )
            columns = list(map(self._column, chain.from_iterable(operations[place].data for place in slots)))
        except (ConfigurationError, QiskitError, ArithmeticError, TypeError, ValueError):
            return None
        numbers = np.column_stack(columns) if columns else np.empty((len(self.values), 0))
        if not np.isfinite(numbers).all():
            return None
        circuits = Sweep(program.circuit, numbers, slots).circuits()
        return [
            Program(circuit, program.framework, program.bits, name=name)
            for circuit, name in zip(circuits, names, strict=True)
        ]

    def _column(self, number: Any) -> np.ndarray:
        """The values that a number of a gate has in the rows."""
        from qiskit.circuit import Parameter, ParameterExpression

        if not isinstance(number, ParameterExpression):
            return np.full(len(self.values), float(number))
        if isinstance(number, Parameter):
            return self.values[:, self.parameters.index(number)]
        own = [(index, one) for index, one in enumerate(self.parameters) if one in number.parameters]
        rows = ({one: row[index] for index, one in own} for row in self.values.tolist())
        return np.array([float(number.bind(values).numeric()) for values in rows])


def table_of(given: Any) -> CircuitTable | None:
    """A tuple of a circuit of Qiskit and values as a table; ``None`` for anything else, two circuits included.

    Args:
        given: what a user gives as a circuit. The values are an array ``(R, P)`` in the order of
            ``circuit.parameters``; or, as Qiskit's ``BindingsArray``, a mapping from parameters, their names, vectors
            or tuples of them, to ``R`` values or arrays ``(R, number)``.

    Raises:
        ConfigurationError: the values are not those of the circuit's parameters, or no finite real numbers.
    """
    if not (isinstance(given, tuple) and len(given) == 2 and framework_of(given[0]) == "qiskit"):
        return None
    circuit, values = given
    surely = isinstance(values, list | tuple | np.ndarray | Number)
    if not surely and not (circuit.num_parameters and reader_of(values) is program_of_other):
        return None
    from pennylane_qexec.circuits.qiskit.reader import loop_parameters

    loops = loop_parameters(circuit) if circuit.num_parameters else ()
    parameters = tuple(one for one in circuit.parameters if one not in loops)
    if not parameters:
        raise ConfigurationError(
            f"circuit {circuit.name!r} has values beside it, and no parameters: give the circuit alone, as often as it "
            "is to run."
        )
    return CircuitTable(circuit, parameters, _values(circuit.name, [one.name for one in parameters], values))


def _values(circuit: str, names: Sequence[str], values: Any) -> np.ndarray:
    from qiskit.primitives.containers.bindings_array import BindingsArray

    if isinstance(values, BindingsArray):
        values = values.data
    if isinstance(values, Mapping):
        columns = _columns(circuit, names, values)
        return np.column_stack([columns[name] for name in names])
    found = _numbers(f"the values of circuit {circuit!r}", values)
    if found.ndim != 2 or found.shape[1] != len(names) or not len(found):
        raise ConfigurationError(
            f"the values of circuit {circuit!r} have the shape {found.shape}: give an array (R, {len(names)}), with a "
            f"row for each of R circuits, and in it a number for each parameter: {_listed(names)}."
        )
    return found


def _columns(circuit: str, names: Sequence[str], values: Mapping[Any, Any]) -> dict[str, np.ndarray]:
    """The values of each parameter, of those in a mapping."""
    columns: dict[str, np.ndarray] = {}
    for key, given in values.items():
        own = list(_names_in(key))
        if unknown := [name for name in own if name not in names]:
            raise ConfigurationError(
                f"circuit {circuit!r} has no parameter {_listed(unknown)}, for which values are given: it has "
                f"{_listed(names)}."
            )
        if twice := [name for name in own if name in columns]:
            raise ConfigurationError(f"the values of {_listed(twice)} of circuit {circuit!r} are given twice.")
        found = _numbers(f"the values of {_listed(own)} of circuit {circuit!r}", given)
        if found.ndim == 1 and len(own) == 1:
            found = found[:, np.newaxis]
        if found.ndim != 2 or found.shape[1] != len(own) or not len(found):
            wanted = "R values, one for each of R circuits" if len(own) == 1 else f"an array (R, {len(own)})"
            raise ConfigurationError(
                f"the values of {_listed(own)} of circuit {circuit!r} have the shape {found.shape}: give {wanted}."
            )
        columns.update(zip(own, found.T, strict=True))
    if missing := [name for name in names if name not in columns]:
        raise ConfigurationError(f"circuit {circuit!r} has no values for {_listed(missing)}: give R values for each.")
    if len(numbers := sorted({len(column) for column in columns.values()})) > 1:
        raise ConfigurationError(
            f"the parameters of circuit {circuit!r} have {' and '.join(map(str, numbers))} values: give as many for "
            "each, one for each circuit."
        )
    return columns


def _names_in(key: Any) -> Iterator[str]:
    """The names of the parameters that a key of a mapping means."""
    from qiskit.circuit import Parameter, ParameterVector

    if isinstance(key, Parameter):
        yield key.name
    elif isinstance(key, tuple | ParameterVector):
        yield from chain.from_iterable(map(_names_in, key))
    else:
        yield str(key)


def _numbers(what: str, values: Any) -> np.ndarray:
    try:
        found = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # the latter of a tensor that is differentiated
        raise ConfigurationError(f"{what} are no array of numbers ({error}): give rows of equal length.") from error
    if found.dtype.kind not in "iuf" or not np.isfinite(found).all():
        raise ConfigurationError(f"{what} must be finite real numbers: {values!r:.200}.")
    return found.astype(float)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(map(repr, names[:_NAMED])) + more
