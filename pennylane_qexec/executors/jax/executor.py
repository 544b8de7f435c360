"""Circuits of one structure compiled by JAX, and run all at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Unpack

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Counter, Runs, counted
from pennylane_qexec.circuits.sampling import SHADOWS, can_pool
from pennylane_qexec.circuits.structure import measured_by, structure_of, wire_labels
from pennylane_qexec.circuits.templates import Fused, fuse, fused, unfused
from pennylane_qexec.errors import ConfigurationError, checked_seed, unknown
from pennylane_qexec.executors.identity import identity_of, is_ours
from pennylane_qexec.executors.options import ExecutorOptions, check_options, lists_options
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.executors.shots import all_reshot, reshot_sweep
from pennylane_qexec.job import Result, Work

if TYPE_CHECKING:
    from pennylane_qexec.executors.jax.batches import Fusion, Structure

Compile = Literal["background", "now", "never"]

_WAYS = ("background", "never", "now")

_ROWS = 1024
"""The most circuits of a sweep that there are at once, where each is prepared."""


class JaxExecutor(DeviceExecutor):
    """Runs circuits that differ only in their parameters in one call of a function that JAX compiled for them.

    The function computes what ``default.qubit`` computes, for all circuits at once. What it cannot compute runs on
    ``default.qubit``: mid-circuit measurements, shot vectors, derivatives by the device.

    Compiling takes around a second. It is begun, in a thread beside the work, when circuits of a structure come for
    the second time or many at once; until it is done they run on ``lightning.qubit``, and for large circuits they
    stay there if that turns out to be faster.

    Needs the extra ``jax``: ``pip install 'pennylane-qexec[jax]'``.

    Args:
        platform: ``"cpu"`` or ``"gpu"``; ``None`` for what JAX uses by default.
        wires: the wires, a number or labels; ``None`` for whatever wires a circuit has.
        seed: of the shots. Circuits give the same results together or one by one, compiled or not.
        compile: ``"background"`` as described; ``"now"`` to compile for every structure at once and wait for it;
            ``"never"`` not to compile.
        chunk: the most circuits that are computed at once; ``None`` for as many as memory and caches have room for.
        cache: whether JAX keeps what it compiles on disk, so that the next process compiles in less time: ``True`` in
            the user's cache folder, a path for there. This is a setting of the whole process, and is left alone if
            it has been made.
        name, workers, parallel, max_circuits, max_shots, batch_window, cost: see :class:`Executor`.

    Raises:
        ConfigurationError: JAX is not installed or too new, has no such device, or an option makes no sense.
    """

    @lists_options(ExecutorOptions)
    def __init__(
        self,
        platform: str | None = None,
        *,
        wires: Any = None,
        seed: int | None = None,
        compile: Compile = "background",
        chunk: int | None = None,
        cache: bool | str | Path = True,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        if compile not in _WAYS:
            raise ConfigurationError(unknown("way to compile", compile, _WAYS))
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise ConfigurationError(f"chunk={chunk!r} must be a whole number of circuits of at least 1, or None.")
        seed = checked_seed(seed)
        check_options(self, options, ExecutorOptions)
        options["name"] = options.get("name") or "jax"
        super().__init__("default.qubit", wires=wires, **options, **({} if seed is None else {"seed": seed}))
        self._options: dict[str, Any] = {"platform": platform, "seed": seed, "cache": cache}
        self._options |= {"compile": compile, "chunk": chunk}
        self._replica = 0
        self._fusion  # noqa: B018

    @property
    def backend(self) -> str:
        """``"jax"``, or ``"jax-gpu"`` if it computes on a GPU."""
        return "jax" if self._fusion.platform.on_cpu else "jax-gpu"

    @property
    def shareable(self) -> bool:
        """No: a copy in another process would compile everything again."""
        return False

    @property
    def identity(self) -> str | None:
        """The platform, wires, seed, and the versions of JAX and of the simulator that runs while it compiles."""
        packages = ("jax", "jaxlib", "pennylane-lightning")
        return identity_of(self, self.backend, packages, self.wires, self._options["seed"])

    @property
    def compiled(self) -> int:
        """How many functions have been compiled: one for each structure and each padded number of circuits."""
        return self._fusion.platform.count

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until everything that is being compiled is ready.

        Args:
            timeout: the most seconds to wait.

        Returns:
            Whether it is.
        """
        return self._fusion.queue.wait(timeout)

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why such a circuit cannot run here: wires that are not there, or memory."""
        reason = super().rejects(circuit)
        if reason is not None:
            return reason
        labels = self.wires or {label for one in circuit.operations for label in wire_labels(one)}
        return self._fusion.too_large(len(labels))

    def _runs(self, circuit: QuantumScript) -> Runs:
        """What is run for a prepared circuit: its bases share one function, and each has shots of its own."""
        runs = super()._runs(circuit)
        if runs[0] > 1 and (_is_traceable(circuit) or self._fusion.structure(fuse([circuit])[0]).traceable):
            return counted(circuit)
        return runs

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch; circuits that the simulator would take as they are need not be prepared one by one."""
        if not work.call.bound and _only_runs(work):
            circuits = all_reshot(work.circuits, self)
            groups = [(self._fusion.structure(group), group) for group in fuse(circuits)]
            if all(one.traceable and one.native(self.binder, work.call.config) for one, _ in groups):
                return self._run(circuits, groups, work)
        return super().perform(work)

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Carry out sweeps, each at once; the circuits of its rows are made only where they run one by one."""
        return [self._perform_sweep(work.part([index])) for index in range(len(work.sweeps))]

    def _perform_sweep(self, work: Work) -> Sequence[Result]:
        sweep = reshot_sweep(work.sweeps[0], self)
        group = fused(sweep)
        structure = self._fusion.structure(group)
        ready = work.call.bound or (structure.traceable and structure.native(self.binder, work.call.config))
        if not (ready and structure.traceable and _only_runs(work) and is_ours(self)):
            return [result for part in work.chunks(_ROWS) for result in self.perform(part.expanded())]
        numbers = self._fusion.sampler.number(len(sweep), work.row_numbers())
        return self._fusion.results(structure, group, numbers)

    def _perform_bound(self, work: Work) -> list[Result]:
        if not _only_runs(work):
            return super()._perform_bound(work)
        return self._run(work.circuits, [(self._fusion.structure(group), group) for group in fuse(work.circuits)], work)

    def _run(
        self, circuits: Sequence[QuantumScript], groups: Sequence[tuple[Structure, Fused]], work: Work
    ) -> list[Result]:
        """Run circuits that are ready, by structure; those that JAX cannot run go to the simulator together."""
        numbers = self._fusion.sampler.number(len(circuits), work.numbers)
        done: list[tuple[Fused, Sequence[Result]]] = []
        rest: list[int] = []
        for structure, group in groups:
            if structure.traceable:
                taken = [numbers[index] for index in group.indices]
                done.append((group, self._fusion.results(structure, group, taken)))
            else:
                rest += group.indices
        ordered = unfused(done, len(circuits))
        if rest:
            rest.sort()
            others = super()._perform_bound(replace(work, circuits=tuple(circuits)).part(rest))
            for index, result in zip(rest, others, strict=True):
                ordered[index] = result
        return ordered

    def reseed(self, seed: int) -> None:
        """Draw by this seed, also on the simulator."""
        super().reseed(seed)
        self._options["seed"] = seed
        vars(self).pop("_fusion", None)

    @cached_property
    def _fusion(self) -> Fusion:
        """What JAX is needed for, started when first used; threads that come together get the one made first."""
        return vars(self).setdefault("_fusion", _start(self._options, self._replica))  # type: ignore[no-any-return]

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key != "_fusion"}

    def become_replica(self, number: int) -> None:
        """Draw from streams of random numbers of this replica's own."""
        super().become_replica(number)
        self._replica = number + 1
        vars(self).pop("_fusion", None)

    def close(self) -> None:
        """Compile nothing more."""
        self._fusion.queue.close()
        super().close()


_COMPARED, _NOT_COMPARED = 2, 1
_measured = Counter(lambda circuit: _NOT_COMPARED if measured_by(circuit) is None else _COMPARED)


def _is_traceable(circuit: QuantumScript) -> bool:
    """Whether a circuit is of plain gates and of a structure that is traceable.

    That is asked for each job. To read what is in a Hamiltonian takes longer than to run it; it is read once.
    """
    gates = QuantumScript(circuit.operations, shots=circuit.shots)
    return (
        any(operation.data for operation in circuit.operations)
        and not circuit.shots.has_partitioned_shots
        and structure_of(gates) is not None
        and can_pool(circuit)
        and not any(isinstance(one, SHADOWS) for one in circuit.measurements)
        and _measured(circuit) == _COMPARED
    )


def _only_runs(work: Work) -> bool:
    """Whether nobody differentiates."""
    return work.call.method == "execute" and work.call.config.gradient_method != "backprop"


def _start(options: Mapping[str, Any], replica: int) -> Fusion:
    # The platform first: it says what is wrong if JAX cannot be imported.
    from pennylane_qexec.executors.jax.compiler import Platform

    platform = Platform(options["platform"])
    cache = options["cache"]
    if cache:
        platform.keep_on_disk(None if cache is True else Path(cache))
    from pennylane_qexec.executors.jax.batches import Fusion
    from pennylane_qexec.executors.jax.functions import Sampler

    return Fusion(platform, Sampler(options["seed"], replica), options["compile"], options["chunk"])
