"""``qexec run``: circuits from files, on backends of any provider."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pennylane_qexec.cli.console import JSON, mistakes, remarks, show
from pennylane_qexec.cli.demo import check_picture
from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.concurrency.files import MOST_OF_CIRCUIT, content_of
from pennylane_qexec.errors import ConfigurationError, PolicyError, checked_seed, unknown

if TYPE_CHECKING:
    from rich.console import Console

    from pennylane_qexec.experiment import ResultCollector

STANDARD_INPUT = "-"


def texts_of(files: list[str]) -> list[str]:
    """The texts of files, without a look at what they say, which takes importing PennyLane.

    Args:
        files: paths; ``"-"`` for standard input.

    Raises:
        ConfigurationError: a file cannot be read, or cannot be OpenQASM.
    """
    if files.count(STANDARD_INPUT) > 1:
        raise ConfigurationError("standard input ('-') can be read only once: name it once.")
    return [_text(file, _name(file)) for file in files]


def check_circuits(files: list[str], texts: list[str]) -> list[str]:
    """See that texts are circuits.

    Args:
        files: where they are from.
        texts: what :func:`texts_of` has read there.

    Returns:
        The texts, with what they include from below their files' folders.

    Raises:
        ConfigurationError: one is no OpenQASM, or a circuit that cannot be run.
    """
    from pennylane_qexec.circuits import frameworks

    complete = []
    for file, text in zip(files, texts, strict=True):
        try:
            complete.append(frameworks.with_includes(text, None if file == STANDARD_INPUT else Path(file).parent))
            frameworks.read(complete[-1])
        except ConfigurationError as error:
            raise ConfigurationError(f"{_name(file)}: {error}") from error
    return complete


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _text(file: str, name: str) -> str:
    try:
        if file == STANDARD_INPUT:
            source = sys.stdin.buffer.read(MOST_OF_CIRCUIT + 1)
        else:
            source = content_of(Path(file), MOST_OF_CIRCUIT)
        if len(source) > MOST_OF_CIRCUIT:
            raise ConfigurationError(f"{name} has more than {MOST_OF_CIRCUIT:,} bytes: give the circuit in parts.")
        text = source.decode("utf-8-sig")  # some editors begin a file with a mark
    except ConfigurationError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no text, and so no OpenQASM.") from error
    except (OSError, ValueError) as error:  # a name with a zero in it is the latter
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{name} cannot be read: {why}.") from error
    if ";" not in text:
        raise ConfigurationError(f"{name} is no OpenQASM: its first line should be 'OPENQASM 2.0;' or 'OPENQASM 3.0;'.")
    return text


_BETWEEN = 0.1
"""Seconds between two looks at what has been done."""


def follow(experiment: ResultCollector, console: Console) -> None:
    """Show a bar until the experiment has ended.

    Args:
        experiment: what to follow.
        console: where to show the bar.

    Raises:
        KeyboardInterrupt: Ctrl-C; the experiment is cancelled then.
    """
    columns = (TextColumn("running"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with interrupts.noticed(), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("running", total=1.0)
        try:
            while not experiment.wait(_BETWEEN):
                bar.update(task, completed=experiment.progress)
        except KeyboardInterrupt:
            experiment.cancel()
            raise


_FAILED = 1
_INTERRUPTED = 130
_SIMULATOR = "local_aer/aer_simulator"
_COMPARING = ("hellinger", "tvd")

_Files = Annotated[list[str], typer.Argument(metavar="FILE...", help="Files of OpenQASM 2 or 3; - is standard input.")]
_Backends = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER/NAME", help=f"Where to run; may be given several times. Default: {_SIMULATOR}."),
]
_Merge = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="How results become one; none leaves them apart. Default: as the split has it."),
]
_Reference = Annotated[
    str, typer.Option(metavar="PROVIDER/NAME", help="The backend that tvd and hellinger compare with.")
]
_OnFailure = Annotated[
    str, typer.Option(metavar="WHAT", help="refuse to merge, rerun what failed, or merge a partial.")
]
_Timeout = Annotated[float | None, typer.Option(metavar="SECONDS", help="The most that each circuit may take.")]
_Save = Annotated[Path | None, typer.Option(metavar="FILE.json", help="Write the experiment to a file.")]
_Plot = Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw what was counted into a picture.")]


def run(
    files: _Files,
    backend: _Backends = None,
    shots: Annotated[int, typer.Option(metavar="N", help="Shots of each circuit.")] = 1024,
    split: Annotated[str, typer.Option(metavar="NAME", help="How shots are shared out over backends.")] = "uniform",
    merge: _Merge = None,
    reference: _Reference = _SIMULATOR,
    on_failure: _OnFailure = "refuse",
    seed: Annotated[int | None, typer.Option(metavar="N", help="Seed of the backends.")] = None,
    processes: Annotated[bool, typer.Option("--processes", help="Run simulators in processes of their own.")] = False,
    timeout: _Timeout = None,
    save: _Save = None,
    plot: _Plot = None,
    as_json: JSON = False,
) -> None:
    """Run circuits on one or several backends, and show what was counted."""
    logging.getLogger("pennylane_qexec").addHandler(logging.NullHandler())  # errors are shown at the end
    console = remarks()
    with mistakes(console, as_json):
        checked_seed(seed)
        if shots < 1:
            raise ConfigurationError(f"--shots {shots} must be at least 1.")
        circuits = texts_of(files)
        with console.status("Importing PennyLane ..."):
            from pennylane_qexec.cli.report import draw, find, print_json, print_problems, print_tables

            _check_files(save, plot)
            circuits = check_circuits(files, circuits)
        backends = backend or [_SIMULATOR]
        collector = _experiment(
            circuits=circuits,
            shots=shots,
            backends=backends,
            split_policy=split,
            merge_policy="per_backend" if merge == "none" else merge,
            merge_data=_merge_data(merge, reference, backends),
            multiprocess=processes,
            config={} if seed is None else {"seed": seed},
            timeout=timeout,
            on_failure=on_failure,
        )
        found = find(files, collector, merges=merge != "none", forgives=on_failure == "rerun")
        (print_json if as_json else print_tables)(found)
    with mistakes(console):
        if save is not None:
            collector.save(save)
        if plot is not None and found.any_result:
            draw(found, plot)
    print_problems(found)
    if found.failed:
        raise typer.Exit(_FAILED)


def _experiment(**options: Any) -> ResultCollector:
    """Run an experiment, with a bar; Ctrl-C cancels it."""
    from pennylane_qexec.experiment import QuantumExecutor

    with QuantumExecutor() as executor:
        collector = executor.run_experiment(wait=False, **options)
        try:
            follow(collector, remarks())
        except KeyboardInterrupt:
            done = sum(record.state == "done" for record in collector.records)
            show(remarks(), "Cancelled", f"{done} of {len(collector.records)} jobs were done.")
            raise typer.Exit(_INTERRUPTED) from None
    return collector


def _merge_data(merge: str | None, reference: str, backends: list[str]) -> dict[str, str] | None:
    if merge not in _COMPARING:
        if reference != _SIMULATOR:
            raise PolicyError(f"--reference {reference} is for --merge tvd and --merge hellinger: add one of them.")
        return None
    if len(backends) == 1:
        raise PolicyError(f"--merge {merge} compares backends, and there is one: add others with --backend.")
    if reference not in backends:
        hint = "Name one of them with --reference, or add it with --backend."
        raise PolicyError(unknown(f"reference of merge {merge!r} among the backends", reference, backends, hint))
    return {"reference": reference}


def _check_files(save: Path | None, plot: Path | None) -> None:
    """See before anything runs whether what comes of it can be written."""
    if plot is not None:
        check_picture(plot)
    if save is not None and not save.resolve().parent.is_dir():
        raise ConfigurationError(f"--save {save}: there is no folder {str(save.parent)!r}.")
