"""``qexec demo``: the energy of H2 over several simulators."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pennylane_qexec.cli.console import aligned, escape, mistakes
from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from pennylane_qexec.engine import History

_SIMULATORS = "lightning.qubit,aer,cirq.simulator"


def demo(
    executors: Annotated[str, typer.Option(help="Executors, with commas between them.")] = _SIMULATORS,
    steps: Annotated[int, typer.Option(min=1, help="Steps of gradient descent.")] = 8,
    shots: Annotated[int, typer.Option(min=10, help="Shots for each group of commuting terms.")] = 6000,
    seed: Annotated[int, typer.Option(help="Seed of the simulators that take one.")] = 7,
    picture: Annotated[Path, typer.Option(help="Where to write the picture.")] = Path("qexec-demo.png"),
) -> None:
    """Find the energy of H2 by VQE, with shots shared out over several simulators."""
    console = Console()
    names = [name.strip() for name in executors.split(",")]
    console.print(f"VQE of H2: {shots} shots for each group of terms, shared out over {escape(', '.join(names))}.")
    with mistakes(console), console.status("Importing PennyLane and the simulators ..."):
        check_picture(picture)
        importlib.import_module("pennylane")
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    with mistakes(console), Progress(*columns, TimeElapsedColumn(), console=console) as progress:
        task = progress.add_task("gradient descent", total=steps)
        result = vqe(
            names,
            steps,
            shots,
            seed,
            lambda energy: progress.update(task, advance=1, description=f"energy {energy:+.4f} hartree"),
        )
    sigmas = abs(result.energy - result.exact) / result.error
    console.print(f"energy at the end: {result.energy:+.5f} ± {result.error:.5f} hartree")
    console.print(f"exact energy:      {result.exact:+.5f} hartree ({sigmas:.1f} standard errors away)")
    console.print(_who_ran_what(result.history))
    draw(result, picture)
    console.print(f"Convergence and timeline: {escape(str(picture))}")


def _who_ran_what(history: History) -> Table:
    rows = history.to_dataframe()
    table = Table("executor", "circuits", "shots", "seconds", title="Who ran what")
    for name, group in rows[rows.state == "done"].groupby("executor", sort=False):
        table.add_row(
            escape(str(name)), str(len(group)), f"{group.shots.sum():,}", f"{group.seconds_running.sum():.2f}"
        )
    return aligned(table, (1, 2, 3))


# What is demonstrated

BOND_LENGTH = 1.4
"""Distance of the two protons, in Bohr radii."""

_PICTURES = (".png", ".pdf", ".svg")
_BINS = 8
_STEP_SIZE = 0.8


@dataclass(frozen=True)
class Vqe:
    """What came of the optimisation.

    Attributes:
        energies: energy at each step, in hartree.
        energy: energy at the end, in hartree.
        error: standard error of ``energy``, in hartree.
        exact: the lowest eigenvalue of the Hamiltonian, in hartree.
        history: which executor ran what.
    """

    energies: list[float]
    energy: float
    error: float
    exact: float
    history: History


def vqe(executors: Sequence[str], steps: int, shots: int, seed: int, tick: Callable[[float], None]) -> Vqe:
    """Find the ground state of H2.

    Args:
        executors: specs of executors.
        steps: steps of gradient descent.
        shots: shots for each group of commuting terms, over all executors together.
        seed: of the cluster and of the simulators that take one.
        tick: called after each step with the energy, in hartree.
    """
    import numpy as np
    import pennylane as qml
    from pennylane import numpy as pnp

    molecule = qml.qchem.Molecule(["H", "H"], np.array([[0.0, 0.0, 0.0], [0.0, 0.0, BOND_LENGTH]]))
    hamiltonian, wires = qml.qchem.molecular_hamiltonian(molecule)
    exact = float(np.linalg.eigvalsh(qml.matrix(hamiltonian, wire_order=range(wires))).min())
    seeded = ("lightning.", "default.", "aer", "jax")
    specs = [{"type": spec, "seed": seed} if spec.startswith(seeded) else spec for spec in executors]
    with qml.device("qexec.cluster", wires=wires, executors=specs, split="uniform", seed=seed) as device:

        @qml.qnode(device, diff_method="parameter-shift")
        def energy(angle: Any) -> Any:
            qml.BasisState([1, 1] + [0] * (wires - 2), wires=range(wires))
            qml.DoubleExcitation(angle, wires=range(wires))
            return qml.expval(hamiltonian)

        optimizer = qml.GradientDescentOptimizer(_STEP_SIZE)
        angle = pnp.array(0.0, requires_grad=True)
        noisy = qml.set_shots(energy, shots)
        energies = []
        for _ in range(steps):
            angle, value = optimizer.step_and_cost(noisy, angle)
            energies.append(float(value))
            tick(energies[-1])
        bins = np.asarray(qml.set_shots(energy, [shots] * _BINS)(angle), dtype=float)
    return Vqe(energies, float(bins.mean()), float(bins.std(ddof=1) / np.sqrt(_BINS)), exact, device.history)


def check_picture(path: Path) -> None:
    """See at once whether a picture can be written there.

    Raises:
        ConfigurationError: there is no such folder, or no such kind of picture.
    """
    if not path.resolve().parent.is_dir():
        raise ConfigurationError(
            f"the picture {str(path)!r} cannot be written: there is no folder {str(path.parent)!r}."
        )
    if path.suffix not in _PICTURES:
        raise ConfigurationError(f"{str(path)!r} is no kind of picture: end its name with {' or '.join(_PICTURES)}.")


def draw(result: Vqe, path: Path) -> None:
    """Draw how the energy converged, and when each executor ran, into a picture.

    Args:
        result: what to draw.
        path: where to write the picture; the ending says of what kind.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6.5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, height_ratios=[3, 2])
    steps = range(len(result.energies))
    above.plot(steps, result.energies, "o-", color="#3b7dd8", label="estimated from shots")
    above.errorbar(
        [len(result.energies)], [result.energy], yerr=result.error, fmt="s", color="#d1495b", label="at the end"
    )
    above.axhline(result.exact, color="black", linewidth=1, linestyle="--", label="exact")
    above.set(xlabel="step of gradient descent", ylabel="energy of H2, hartree", title="H2 over several simulators")
    above.legend(frameon=False)
    above.spines[["top", "right"]].set_visible(False)
    result.history.plot_timeline(below)
    figure.savefig(path, dpi=120)
