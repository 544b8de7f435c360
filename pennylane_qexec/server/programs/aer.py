"""Samplers and estimators on Aer, with the noise of the backend that a job names.

At a seed, counts and values are those of the local testing mode of IBM's client, whose classes of Qiskit are used with
the same options: ``BackendSamplerV2`` and ``BackendEstimatorV2``. Importing this imports Qiskit and Aer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2, PrimitiveResult
from qiskit.providers import BackendV2
from qiskit.transpiler import PassManager, Target, generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.utils.utils import is_isa_circuit

from pennylane_qexec.server.catalogue import Catalogue, PublishedBackend
from pennylane_qexec.server.programs.payloads import bounded_memory, seed_of
from pennylane_qexec.server.programs.pubs import SHOTS, precision_of
from pennylane_qexec.server.programs.tasks import ProgramError
from pennylane_qexec.server.sources import Source

Params = Mapping[str, Any]


def run(
    program: str, backend: PublishedBackend, params: Sequence[Params], catalogue: Catalogue, source: Source, memory: int
) -> list[PrimitiveResult]:
    """The results of jobs that run as one.

    Args:
        program: ``"sampler"`` or ``"estimator"``.
        backend: that the jobs name.
        params: of the jobs, decoded; their options are equal.
        catalogue: has the backend.
        source: Aer, with its options.
        memory: bytes that may be taken while circuits are transpiled.

    Raises:
        ProgramError: a circuit is not one of the backend's.
    """
    options = params[0].get("options") or {}
    machine = _Machine(catalogue, backend, source, options, memory)
    pubs = [machine.prepared(pub) for one in params for pub in one["pubs"]]
    primitive = _sampler(machine, options) if program == "sampler" else _estimator(machine, options)
    result = primitive.run(pubs).result()
    found = iter(result)
    return [PrimitiveResult([next(found) for _ in one["pubs"]], metadata=result.metadata) for one in params]


def _sampler(machine: _Machine, options: Params) -> BackendSamplerV2:
    shots = options.get("default_shots") or SHOTS
    return BackendSamplerV2(backend=machine, options={"default_shots": shots, "seed_simulator": seed_of(options)})


def _estimator(machine: _Machine, options: Params) -> BackendEstimatorV2:
    return BackendEstimatorV2(
        backend=machine, options={"default_precision": precision_of(options), "seed_simulator": seed_of(options)}
    )


class _Machine(BackendV2):
    """What circuits run on, with the options of the source and of the job in every run.

    Args:
        catalogue: has the backend.
        backend: that jobs name.
        source: Aer, with its options.
        options: of the jobs.
        memory: bytes that may be taken while circuits are transpiled.
    """

    def __init__(
        self, catalogue: Catalogue, backend: PublishedBackend, source: Source, options: Params, memory: int
    ) -> None:
        super().__init__(name=backend.name)
        self._ideal = catalogue.metadata(backend.metadata).simulator
        self._backend = catalogue.backend(backend.metadata) if source.noise else AerSimulator()
        self._target = catalogue.backend(backend.metadata).target
        self._memory = memory
        self._run_options = dict(source.options)
        noise = (options.get("simulator") or {}).get("noise_model")
        if noise is not None:
            self._run_options["noise_model"] = noise if isinstance(noise, NoiseModel) else NoiseModel.from_dict(noise)

    @property
    def target(self) -> Target:
        """What circuits may be made of."""
        return self._target

    @property
    def max_circuits(self) -> None:
        """As many circuits as one likes."""
        return None

    @classmethod
    def _default_options(cls) -> Any:
        return AerSimulator._default_options()

    def run(self, run_input: Any, **options: Any) -> Any:
        """Run circuits, and wait.

        Raises:
            ProgramError: Aer could not run one. Qiskit's primitives would take it for one that measured nothing.
        """
        job = self._backend.run(run_input, **{**self._run_options, **options})
        result = job.result()
        if not result.success:
            failed = [one.status for one in result.results if not one.success]
            raise ProgramError(f"Aer cannot run the circuits: {failed[0] if failed else result.status}")
        return job

    def prepared(self, pub: Sequence[Any]) -> tuple[Any, ...]:
        """A PUB whose circuit is one of the machine's own gates: clients do not transpile for what is ideal.

        Raises:
            ProgramError: it is not. Aer would run other gates without noise.
        """
        circuit, *rest = pub
        if self._ideal:
            with bounded_memory(self._memory):
                circuit = _compiler(self._target).run(circuit)
        elif why := is_isa_circuit(circuit, self._target):
            raise ProgramError(f"{why.rstrip('. ')}. Transpile the circuit for {self.name!r}.")
        return (circuit, *rest)


@lru_cache(1)
def _compiler(target: Target) -> PassManager:
    """Qiskit's compiler for what is ideal, which takes ten times as long to make as to run."""
    return generate_preset_pass_manager(0, target=target)
