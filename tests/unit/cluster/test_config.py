"""Clusters described in TOML files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.testing import flip

LAB = """
executors = ["default.qubit", {type = "lightning.qubit", name = "fast", max_circuits = 5}]
selector = "cyclic"
timeout = 30.0
"""
TWO = 'executors = ["default.qubit", "lightning.qubit"]\n'
NAMED = """
[clusters.lab]
executors = ["default.qubit"]

[clusters.home]
executors = ["lightning.qubit"]
"""


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is empty, and so is the user's configuration folder."""
    (tmp_path / "work").mkdir()
    (tmp_path / "user").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr("pennylane_qexec.cluster.validation.user_config_path", lambda name: tmp_path / "user")


def names(device: qexec.ClusterDevice) -> list[str]:
    return [executor.name for executor in device.cluster.executors]


def test_a_path_is_a_file_with_the_options_of_a_cluster(open_device: Any, tmp_path: Path) -> None:
    (tmp_path / "lab.toml").write_text(LAB)
    device = open_device(config=str(tmp_path / "lab.toml"), wires=2)
    assert names(device) == ["default.qubit", "fast"]
    assert device.cluster.executors[1].max_circuits == 5
    assert [executor.wires.tolist() for executor in device.cluster.executors] == [[0, 1], [0, 1]]


def test_a_name_is_a_cluster_in_the_file_of_the_working_folder(open_device: Any) -> None:
    Path("qexec.toml").write_text(NAMED)
    assert names(open_device(config="lab")) == ["default.qubit"]
    assert names(open_device(config="home")) == ["lightning.qubit"]


def test_a_name_may_be_a_cluster_in_the_file_of_the_user(open_device: Any, tmp_path: Path) -> None:
    (tmp_path / "user" / "qexec.toml").write_text(NAMED)
    assert names(open_device(config="lab")) == ["default.qubit"]


def test_the_file_of_the_working_folder_goes_before_that_of_the_user(open_device: Any, tmp_path: Path) -> None:
    (tmp_path / "user" / "qexec.toml").write_text(NAMED)
    Path("qexec.toml").write_text('[clusters.lab]\nexecutors = ["reference.qubit"]\n')
    assert names(open_device(config="lab")) == ["reference.qubit"]
    assert names(open_device(config="home")) == ["lightning.qubit"]


def test_an_unknown_name_is_answered_with_the_nearest(open_device: Any) -> None:
    Path("qexec.toml").write_text(NAMED)
    with pytest.raises(qexec.ConfigurationError, match=r"no cluster is called 'labb'\. Did you mean 'lab'\?"):
        open_device(config="labb")


def test_without_any_file_the_error_says_where_to_put_one(open_device: Any, tmp_path: Path) -> None:
    with pytest.raises(qexec.ConfigurationError, match="Known: none") as raised:
        open_device(config="lab")
    assert "Add [clusters.lab] to qexec.toml, here or in" in str(raised.value)
    assert str(tmp_path / "user") in str(raised.value)


def test_a_file_that_is_not_there_is_an_error(open_device: Any) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"nowhere\.toml cannot be read \(No such file"):
        open_device(config="nowhere.toml")


def test_broken_toml_is_an_error_that_says_where(open_device: Any) -> None:
    Path("lab.toml").write_text('executors = ["default.qubit"\nselector = ')
    with pytest.raises(qexec.ConfigurationError, match=r"lab\.toml is no TOML: .*line 2"):
        open_device(config="lab.toml")


def test_arguments_go_before_the_file(open_device: Any) -> None:
    Path("lab.toml").write_text('executors = ["default.qubit"]\ntimeout = -1\nselector = "nonsense"')
    device = open_device(config="lab.toml", timeout=5, selector="random")
    assert names(device) == ["default.qubit"]


def test_weights_can_be_written_as_a_table(open_device: Any) -> None:
    Path("lab.toml").write_text(
        'executors = ["default.qubit", "lightning.qubit"]\n[split.weighted]\n"default.qubit" = 3\n"lightning.qubit" = 1'
    )
    device = open_device(config="lab.toml", wires=1)
    device.cluster.execute([flip(0.1, shots=100)])
    assert {row.executor: row.shots for row in device.history} == {"default.qubit": 75, "lightning.qubit": 25}


def test_a_weighted_selector_can_be_written_as_a_table(open_device: Any) -> None:
    Path("lab.toml").write_text(
        'executors = ["default.qubit", "lightning.qubit"]\nselector = {weighted = {"lightning.qubit" = 1}}'
    )
    device = open_device(config="lab.toml", wires=1)
    device.cluster.execute([flip(0.1, shots=100) for _ in range(5)])
    assert {row.executor for row in device.history} == {"lightning.qubit"}


def test_a_config_and_executors_together_are_refused(open_device: Any) -> None:
    Path("lab.toml").write_text(LAB)
    with pytest.raises(qexec.ConfigurationError, match="executors and config were given together"):
        open_device("default.qubit", config="lab.toml")


def test_a_misspelt_option_in_the_file_is_an_error(open_device: Any) -> None:
    Path("lab.toml").write_text('executors = ["default.qubit"]\nselectr = "cyclic"')
    with pytest.raises(qexec.ConfigurationError, match="selector"):
        open_device(config="lab.toml")
