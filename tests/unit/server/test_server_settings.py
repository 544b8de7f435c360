"""Settings of a server: arguments before variables, before the file, before defaults."""

from __future__ import annotations

from pathlib import Path

import pytest

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.settings import load_settings


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("HOST", "PORT", "STORE", "EXECUTORS"):
        monkeypatch.delenv(f"QEXEC_{name}", raising=False)


def test_without_anything_a_server_listens_on_this_machine_with_aer() -> None:
    settings = load_settings()
    assert (settings.host, settings.port, settings.executors, settings.is_local) == ("127.0.0.1", 8000, ("aer",), True)


def test_arguments_go_before_variables_and_these_before_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("qexec.toml").write_text('[server]\nport = 1\nhost = "10.0.0.1"\nworkers = 3\n[clusters.a]\nexecutors = []\n')
    monkeypatch.setenv("QEXEC_PORT", "2")
    monkeypatch.setenv("QEXEC_HOST", "10.0.0.2")
    settings = load_settings(port=3, host=None)
    assert (settings.port, settings.host, settings.workers, settings.is_local) == (3, "10.0.0.2", 3, False)


def test_a_variable_names_executors_with_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_EXECUTORS", "aer, lightning.qubit")
    assert load_settings().executors == ("aer", "lightning.qubit")


def test_the_file_has_executors_as_tables_and_files_of_calibrations() -> None:
    Path("qexec.toml").write_text(
        '[server]\nmax_body = "1 MB"\n[[server.executors]]\ntype = "aer"\ndevice = "GPU"\n'
        '[server.calibrations]\nfake_manila = "manila.json"\n'
    )
    settings = load_settings()
    assert settings.executors == ({"type": "aer", "device": "GPU"},)
    assert settings.calibrations == {"fake_manila": Path("manila.json")}
    assert settings.max_body == 1_000_000


def test_the_settings_of_qiskit_runtime_server_have_counterparts(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"GPU_DEVICE": "1", "GPU_MEMORY_LIMIT": "8G", "GPU_NOISE": "false"}.items():
        monkeypatch.setenv(f"QEXEC_{name}", value)
    settings = load_settings()
    assert (settings.gpu_device, settings.gpu_memory_limit, settings.gpu_noise) == (1, 8_000_000_000, False)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"port": 99999}, "setting port of the server is 99999"),
        ({"max_body": "much"}, "setting max_body of the server is 'much'"),
        ({"executors": ""}, "setting executors"),
        ({"prot": 1}, "a server has no setting 'prot': its settings are host, port"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(given: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        load_settings(**given)


def test_an_unknown_key_or_a_broken_file_is_an_error() -> None:
    Path("qexec.toml").write_text("[server]\nprot = 1\n")
    with pytest.raises(ConfigurationError, match="no setting 'prot'"):
        load_settings()
    Path("qexec.toml").write_text("[server\n")
    with pytest.raises(ConfigurationError, match=r"qexec.toml cannot be read.*Correct it"):
        load_settings()
