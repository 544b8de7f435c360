"""The options of Qiskit Runtime's primitives, checked when they are given and not when a job has waited in a queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pennylane_qexec.errors import ConfigurationError, unknown

Primitive = Literal["auto", "sampler", "estimator"]

PRIMITIVES = ("auto", "estimator", "sampler")

_OURS = ("default_shots", "default_precision")
_FOR_ZERO = 2**31 - 1
"""The seed in place of 0, which local mode takes for none."""
_LOCAL = ("simulator.seed_simulator", "simulator.noise_model")


@dataclass(frozen=True)
class PrimitiveOptions:
    """Options for both primitives, in the nested form that Qiskit Runtime takes.

    Attributes:
        sampler: for ``SamplerV2``.
        estimator: for ``EstimatorV2``.
        estimates: whether circuits that the Estimator can run go to it.
        samples: whether circuits that it cannot run go to the Sampler.
    """

    sampler: Mapping[str, Any] = field(default_factory=dict)
    estimator: Mapping[str, Any] = field(default_factory=dict)
    estimates: bool = False
    samples: bool = True

    def of(self, primitive: str, seed: int | None, tags: Sequence[str] = ()) -> dict[str, Any]:
        """The options for one job.

        Args:
            primitive: ``"sampler"`` or ``"estimator"``.
            seed: the seed of a simulator, if the job has one.
            tags: those that the job gets besides the user's.
        """
        options = dict(self.estimator if primitive == "estimator" else self.sampler)
        if seed is not None:
            options["simulator"] = {**options.get("simulator", {}), "seed_simulator": seed}
        if tags:
            environment = options.get("environment", {})
            options["environment"] = {**environment, "job_tags": [*(environment.get("job_tags") or ()), *tags]}
        return options

    @property
    def seed(self) -> int | None:
        """The seed in the options, which is that of every job."""
        seed = self.sampler.get("simulator", {}).get("seed_simulator")
        return None if seed is None else int(seed)

    def with_seed(self, seed: int) -> PrimitiveOptions:
        """The options with another seed in them."""
        return replace(self, sampler=self.of("sampler", seed), estimator=self.of("estimator", seed))

    def without_effect_locally(self) -> list[str]:
        """The options that local mode ignores."""
        given = {**self.sampler, **self.estimator}
        return sorted(path for path in _paths(given) if path not in _LOCAL)

    def for_local_mode(self) -> PrimitiveOptions:
        """Without the options that local mode ignores, and would warn of at every job."""
        simulator = self.sampler.get("simulator", {})
        kept = {name: simulator[name] for name in ("seed_simulator", "noise_model") if name in simulator}
        if kept.get("seed_simulator") == 0:
            kept["seed_simulator"] = _FOR_ZERO
        seeds = {name: value for name, value in kept.items() if name == "seed_simulator"}
        return PrimitiveOptions(
            {"simulator": kept} if kept else {}, {"simulator": seeds} if seeds else {}, self.estimates, self.samples
        )


def primitive_options(options: Mapping[str, Any] | None, primitive: Primitive) -> PrimitiveOptions:
    """The options as a user gave them, for each primitive those that it has.

    Args:
        options: nested mappings, as Qiskit Runtime's options are; ``None`` for none.
        primitive: which primitive runs circuits. ``"auto"``: the Sampler; but if an option asks for what only the
            Estimator does, the Estimator for circuits of which only expectation values are asked.

    Raises:
        ConfigurationError: there is no such primitive or option, or it does not take this value.
    """
    if primitive not in PRIMITIVES:
        raise ConfigurationError(unknown("primitive", primitive, PRIMITIVES))
    given = _plain(options or {})
    for name in _OURS:
        if name in given:
            raise ConfigurationError(
                f"options={{{name!r}: {given[name]!r}}}: circuits are run with exactly their own shots. Give them to "
                "the QNode with qml.set_shots."
            )
    if not given:
        return PrimitiveOptions(estimates=primitive == "estimator", samples=primitive != "estimator")
    from qiskit_ibm_runtime.options import EstimatorOptions, SamplerOptions

    for_sampler = _taken(asdict(SamplerOptions()), given)
    known = asdict(EstimatorOptions())
    for_estimator = _taken(known, given)
    _refuse_unknown(given, for_sampler, for_estimator, known)
    _validate(SamplerOptions, for_sampler)
    _validate(EstimatorOptions, for_estimator)
    _refuse_signals(for_sampler)
    only = [name for name in given if name not in for_sampler]
    if only and primitive == "sampler":
        raise ConfigurationError(
            f"options={{{only[0]!r}: ...}} is for the Estimator, and primitive='sampler' is given."
        )
    estimates = primitive == "estimator" or (primitive == "auto" and any(given[name] for name in only))
    return PrimitiveOptions(for_sampler, for_estimator, estimates, primitive != "estimator")


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(options, Mapping):
        raise ConfigurationError(
            f"options={options!r} must be a mapping, as in {{'twirling': {{'enable_gates': True}}}}."
        )
    return {name: _plain(value) if isinstance(value, Mapping) else value for name, value in options.items()}


def _taken(known: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The part of the given options that is known."""
    taken = {}
    for name, value in given.items():
        if name in known:
            nested = isinstance(known[name], dict) and isinstance(value, Mapping)
            taken[name] = _taken(known[name], value) if nested else value
    return taken


def _refuse_unknown(
    given: Mapping[str, Any],
    one: Mapping[str, Any],
    other: Mapping[str, Any],
    known: Mapping[str, Any],
    place: str = "",
) -> None:
    for name, value in given.items():
        if name not in one and name not in other:
            names = [each for each in known if not each.startswith("_") and each not in _OURS]
            what = f"option {place}* of Qiskit Runtime" if place else "option of Qiskit Runtime's primitives"
            raise ConfigurationError(unknown(what, name, names))
        if isinstance(known.get(name), dict):
            if not isinstance(value, Mapping):
                raise ConfigurationError(f"options: {place}{name}={value!r} must be a mapping of options.")
            _refuse_unknown(value, one.get(name, {}), other.get(name, {}), known[name], f"{place}{name}.")


def _validate(kind: Any, options: Mapping[str, Any]) -> None:
    from pydantic import ValidationError
    from qiskit_ibm_runtime.options.utils import merge_options_v2

    try:
        kind(**merge_options_v2(kind(), dict(options)))
    except ValidationError as error:
        wrong = next((one for one in error.errors() if "UnsetType" not in one["msg"]), error.errors()[0])
        path = ".".join(str(part) for part in wrong["loc"] if str(part) in set(_names(options))) or "options"
        raise ConfigurationError(f"options: {path}={wrong['input']!r}: {wrong['msg']}.") from None
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"options={dict(options)!r}: {error}.") from None


def _refuse_signals(options: Mapping[str, Any]) -> None:
    kind = options.get("execution", {}).get("meas_type", "classified")
    if kind != "classified":
        raise ConfigurationError(
            f"options={{'execution': {{'meas_type': {kind!r}}}}}: results are made of bits, and these are signals. "
            "Take 'classified', or leave it out."
        )


def _names(options: Mapping[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        yield name
        if isinstance(value, Mapping):
            yield from _names(value)


def _paths(options: Mapping[str, Any], place: str = "") -> Iterator[str]:
    for name, value in options.items():
        if isinstance(value, Mapping) and name not in ("noise_model", "experimental"):
            yield from _paths(value, f"{place}{name}.")
        else:
            yield f"{place}{name}"
