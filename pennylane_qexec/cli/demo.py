"""``qexec demo``: the energy of H2 over several simulators."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from pennylane_qexec.cli.console import aligned, escape, mistakes

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
        from pennylane_qexec.cli.vqe import check_picture, draw, vqe

        check_picture(picture)
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


def _who_ran_what(history: Any) -> Table:
    rows = history.to_dataframe()
    table = Table("executor", "circuits", "shots", "seconds", title="Who ran what")
    for name, group in rows[rows.state == "done"].groupby("executor", sort=False):
        table.add_row(
            escape(str(name)), str(len(group)), f"{group.shots.sum():,}", f"{group.seconds_running.sum():.2f}"
        )
    return aligned(table, (1, 2, 3))
