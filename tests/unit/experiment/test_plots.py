"""Pictures of an experiment."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment import Record
from pennylane_qexec.experiment.plots import panels, plot_counts, plot_merged, plot_panels, plot_timeline
from pennylane_qexec.job import JobState

RED, BLUE, LIGHT, QUEUED = "#d1495b", "#3b7dd8", "#8db8ee", "#dfe3e8"


def _done(backend: str, result: Any, circuit: int = 0) -> Record:
    return Record(0, circuit, "local_aer", backend, 100, JobState.DONE, result)


RECORDS = [
    _done("aer_simulator", {"00": 50, "11": 50}),
    _done("fake_manila", {"00": 90, "01": 20, "11": 90}),
    Record(1, 0, "local_aer", "broken", 100, JobState.FAILED, error="ValueError: no"),
]


@pytest.fixture(autouse=True)
def _no_window() -> Iterator[None]:
    with mpl.rc_context({"backend": "Agg"}):
        yield
    plt.close("all")


def _heights(ax: Any) -> list[list[float]]:
    return [[round(float(bar.get_height()), 6) for bar in group] for group in ax.containers]


def _outcomes(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.get_xticklabels()]


def test_bars_of_several_backends_stand_side_by_side_as_shares_of_their_shots() -> None:
    ax = plot_counts(RECORDS)
    assert _outcomes(ax) == ["00", "01", "11"]
    assert _heights(ax) == [[50.0, 0.0, 50.0], [45.0, 10.0, 45.0]]
    places = [bar.get_x() for group in ax.containers for bar in group]
    assert len(set(places)) == 6
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["local_aer/aer_simulator (100 shots)", "local_aer/fake_manila (200 shots)"]


def test_counts_of_several_jobs_of_a_backend_are_added_up() -> None:
    ax = plot_counts([_done("a", {"0": 3}), _done("a", {"0": 1, "1": 4})])
    assert _heights(ax) == [[50.0, 50.0]]
    assert ax.get_title("right") == "local_aer/a (8 shots)"


def test_each_circuit_has_a_picture_of_its_own() -> None:
    records = [_done("a", {"0": 3}), _done("a", {"1": 3}, circuit=1)]
    assert _outcomes(plot_counts(records, circuit=1)) == ["1"]


@pytest.mark.parametrize("data", [{"0": 3, "1": 1}, [{"0": 3, "1": 1}], {"0": np.int64(3), "1": np.int64(1)}])
def test_merged_counts_are_one_group_of_bars_without_a_legend(data: Any) -> None:
    ax = plot_merged(data)
    assert _heights(ax) == [[75.0, 25.0]]
    assert ax.get_legend() is None
    assert ax.get_title("right") == "4 shots"


def test_counts_by_provider_and_backend_are_drawn_as_those_of_records() -> None:
    data = {"local_aer": {"a": [{"0": 1}, {"0": 2, "1": 2}], "b": [{"0": 1}, {"1": 1}]}, "other": {"c": [None, None]}}
    assert _heights(plot_merged(data, circuit=1)) == [[50.0, 50.0], [0.0, 100.0]]


def test_rare_outcomes_are_summed_up_as_others_and_no_shot_is_left_out() -> None:
    ax = plot_merged({format(number, "04b"): number for number in range(1, 16)}, outcomes=3)
    assert _outcomes(ax) == ["1101", "1110", "1111", "others"]
    (heights,) = _heights(ax)
    assert sum(heights) == pytest.approx(100.0)
    assert heights[-1] == pytest.approx(100 * 78 / 120)


def test_a_single_rare_outcome_is_shown_as_itself() -> None:
    assert _outcomes(plot_merged({"00": 5, "01": 3, "11": 1}, outcomes=2)) == ["00", "01", "11"]


def test_sixty_backends_get_a_line_each_and_room_for_their_names() -> None:
    ax = plot_counts([_done(f"backend_{number}", {"0": number + 1, "1": 60}) for number in range(60)])
    (image,) = ax.get_images()
    shades = np.asarray(image.get_array())
    assert shades.shape == (60, 2)
    np.testing.assert_allclose(shades.sum(axis=1), 100.0)
    ax.figure.canvas.draw()
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert all(above.y0 >= below.y1 for above, below in pairwise(boxes))


def test_each_of_a_few_circuits_has_a_panel_of_its_own() -> None:
    first, second = plot_panels(panels([{"0": 1}, {"1": 1}]))
    assert first.get_title("left") == "circuit 0"
    assert _outcomes(second) == ["1"]


def test_of_many_circuits_the_first_six_or_the_chosen_ones_are_drawn() -> None:
    many = panels([{"0": number + 1} for number in range(50)])
    assert len(plot_panels(many)) == 6
    (ax,) = plot_panels(many, circuits=[41])
    assert ax.get_title("left") == "circuit 41"


def test_distances_are_horizontal_bars_the_smallest_first() -> None:
    ax = plot_merged({"local_aer/fake_manila": 0.03, "local_aer/fake_lima": np.float64(0.01)})
    assert [text.get_text() for text in ax.get_yticklabels()] == ["local_aer/fake_lima", "local_aer/fake_manila"]
    assert [bar.get_width() for bar in ax.containers[0]] == [0.01, 0.03]


def test_distances_of_several_circuits_are_drawn_one_by_one() -> None:
    ax = plot_merged({"local_aer/fake_manila": [0.03, None], "local_aer/fake_lima": [0.01, 0.02]}, circuit=1)
    assert [bar.get_width() for bar in ax.containers[0]] == [0.02]


def test_a_long_name_loses_its_middle_but_neither_end() -> None:
    name = "provider/" + "x" * 40 + "_v2"
    ax = plot_merged({name: 0.5})
    (label,) = [text.get_text() for text in ax.get_yticklabels()]
    assert label.startswith("provider/")
    assert label.endswith("_v2")
    assert len(label) < 40


def test_what_is_given_is_drawn_on() -> None:
    figure = Figure()
    (ax,) = plot_panels(panels({"0": 1}), figure)
    assert ax.figure is figure
    assert plot_counts(RECORDS, ax=ax) is plot_merged({"0": 1}, ax=ax) is ax


@pytest.mark.parametrize("nothing", [{}, [], {"a": {"b": [None]}}, None])
def test_without_any_result_there_is_an_error_that_says_where_to_look(nothing: Any) -> None:
    with pytest.raises(ConfigurationError, match="no circuit has a result"):
        plot_merged(nothing)


def test_results_that_are_no_counts_are_refused_with_their_place() -> None:
    with pytest.raises(ConfigurationError, match="a result of local_aer/default of the type ndarray"):
        plot_counts([_done("default", np.zeros(4))])


def test_a_circuit_that_has_no_result_cannot_be_drawn() -> None:
    with pytest.raises(ConfigurationError, match="circuit=7 has no result to draw; these have: 0"):
        plot_counts(RECORDS, circuit=7)


def test_at_least_one_outcome_is_shown() -> None:
    with pytest.raises(ConfigurationError, match="outcomes=0"):
        plot_counts(RECORDS, outcomes=0)


def _record(backend: str, state: JobState, submitted: float, started: float, finished: float) -> Record:
    return Record(0, 0, "local", backend, 10, state, None, submitted, started, finished)


def _bars(ax: Any) -> set[tuple[str, float, float]]:
    """Colour, start and length of each bar."""
    found = set()
    for collection in ax.collections:
        for path, colour in zip(collection.get_paths(), [collection.get_facecolor()[0]] * 99, strict=False):
            left, right = path.vertices[:, 0].min(), path.vertices[:, 0].max()
            found.add((mpl.colors.to_hex(colour), round(float(left), 6), round(float(right - left), 6)))
    return found


def test_the_timeline_shows_waiting_running_and_failure_in_colours_of_their_own() -> None:
    ax = plot_timeline(
        [_record("a", JobState.DONE, 100.0, 101.0, 103.0), _record("b", JobState.FAILED, 100.0, 100.5, 102.0)]
    )
    assert [text.get_text() for text in ax.get_yticklabels()] == ["local/a", "local/b"]
    assert _bars(ax) == {(QUEUED, 0.0, 1.0), (BLUE, 1.0, 2.0), (QUEUED, 0.0, 0.5), (RED, 0.5, 1.5)}
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["waiting", "done", "failed"]


def test_jobs_that_go_on_are_drawn_until_now() -> None:
    ax = plot_timeline([_record("a", JobState.RUNNING, 100.0, 101.0, 0.0)])
    (running,) = [bar for bar in _bars(ax) if bar[0] == LIGHT]
    assert running[1] == 1.0
    assert running[2] > 1e9


def test_a_job_that_failed_before_it_was_sent_has_a_line_and_a_cross() -> None:
    ax = plot_timeline([_record("a", JobState.DONE, 100.0, 101.0, 103.0), _record("b", JobState.FAILED, 0.0, 0.0, 0.0)])
    assert [text.get_text() for text in ax.get_yticklabels()] == ["local/a", "local/b"]
    (crosses,) = ax.get_lines()
    assert (crosses.get_marker(), crosses.get_color()) == ("x", RED)
    assert list(crosses.get_ydata()) == [1]


def test_a_timeline_of_nothing_is_empty_axes() -> None:
    assert _bars(plot_timeline([])) == set()


def test_axes_that_are_given_are_drawn_on() -> None:
    ax = Figure().subplots()
    assert plot_timeline([_record("a", JobState.DONE, 1.0, 2.0, 3.0)], ax) is ax
