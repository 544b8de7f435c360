"""Options and accounts of Qiskit Runtime: primitive_options when they are given, and secrets are shown nowhere."""

from __future__ import annotations

import logging
import pickle
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import keyring
import pytest
from fakes.keyring_backend import MemoryKeyring
from ibm import FakeAPI, FakeService
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.accounts import management
from qiskit_ibm_runtime.fake_provider import FakeManilaV2

import pennylane_qexec as qexec
from pennylane_qexec import credentials
from pennylane_qexec.executors.runtime import RuntimeExecutor
from pennylane_qexec.executors.runtime.options import primitive_options
from pennylane_qexec.testing import flip

SECRET = "s3cr3t-t0k3n"


@pytest.fixture(autouse=True)
def _nobody_is_logged_in(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(management, "_DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(tmp_path / "qiskit-ibm.json"))
    for name in ("TOKEN", "INSTANCE", "CHANNEL", "URL"):
        monkeypatch.delenv(f"QISKIT_IBM_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    credentials.forget()
    yield
    keyring.set_keyring(before)
    credentials.forget()


# -- options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"twirlin": {}}, r"no option of Qiskit Runtime's primitives is called 'twirlin'. Did you mean 'twirling'\?"),
        ({"resilience": {"zne": {"noise_factor": [1, 3]}}}, r"Did you mean 'noise_factors'\?"),
        ({"resilience_level": 7}, "resilience_level=7: .* must be <=2"),
        ({"dynamical_decoupling": 3}, "dynamical_decoupling=3 must be a mapping"),
        ({"max_execution_time": "long"}, "max_execution_time='long'"),
        ({"default_shots": 10}, "exactly their own shots"),
        ({"execution": {"meas_type": "kerneled"}}, "results are made of bits"),
        (3, "options=3 must be a mapping"),
    ],
    ids=str,
)
def test_options_that_qiskit_would_not_take_are_refused_when_they_are_given(options: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        RuntimeExecutor("ibm_torino", options=options)


def test_options_of_the_estimator_are_refused_for_the_sampler_alone() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'resilience_level': .* is for the Estimator"):
        RuntimeExecutor("ibm_torino", primitive="sampler", options={"resilience_level": 1})


def test_each_primitive_gets_the_options_that_it_has() -> None:
    options = {"resilience_level": 1, "execution": {"meas_type": "classified", "init_qubits": True}}
    both = primitive_options(options, "auto")
    assert both.sampler == {"execution": {"meas_type": "classified", "init_qubits": True}}
    assert both.estimator == {"resilience_level": 1, "execution": {"init_qubits": True}}


@pytest.mark.parametrize(
    ("options", "primitive", "estimates"),
    [
        ({}, "auto", False),
        ({"twirling": {"enable_gates": True}}, "auto", False),
        ({"resilience_level": 0}, "auto", False),
        ({"resilience_level": 1}, "auto", True),
        ({"resilience": {"measure_mitigation": True}}, "auto", True),
        ({}, "estimator", True),
    ],
)
def test_the_estimator_is_used_if_an_option_asks_for_it(options: Any, primitive: Any, estimates: bool) -> None:
    assert primitive_options(options, primitive).estimates is estimates


def test_local_mode_warns_once_of_options_without_effect(recwarn: pytest.WarningsRecorder) -> None:
    executor = RuntimeExecutor("aer", options={"dynamical_decoupling": {"enable": True}})
    executor.run([flip(0.1, 10)])
    assert [str(warning.message) for warning in recwarn if "no effect" in str(warning.message)] == [
        "dynamical_decoupling.enable: no effect on 'aer', which is simulated on this machine; results are what was "
        "measured."
    ]


# -- accounts


def test_without_an_account_nothing_is_sent_and_it_is_said_what_to_do() -> None:
    executor = RuntimeExecutor("ibm_torino")
    with pytest.raises(qexec.ConfigurationError, match=r"no account .* QISKIT_IBM_TOKEN .* 'fake_manila'"):
        executor.run([flip(0.1, 10)])


def test_a_missing_account_is_not_tried_again(open_cluster: Any) -> None:
    cluster = open_cluster(RuntimeExecutor("ibm_torino"))
    with pytest.raises(qexec.ExecutorError, match="failed at attempt 1: NoAccessError: no account"):
        cluster.execute([flip(0.1, 10)])


class Asked:
    """What a service was connected with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: Exception | None = None) -> None:
        self.arguments: dict[str, Any] = {}

        def connect(service: Any, **arguments: Any) -> None:
            self.arguments = arguments
            if error is not None:
                raise error
            FakeService.__init__(service, FakeAPI())

        monkeypatch.setattr(QiskitRuntimeService, "__init__", connect)
        monkeypatch.setattr(QiskitRuntimeService, "backend", FakeService.backend)
        monkeypatch.setattr(QiskitRuntimeService, "usage", FakeService.usage)
        monkeypatch.setattr(QiskitRuntimeService, "_create_backend_obj", FakeService._create_backend_obj)


def test_arguments_go_to_the_service_that_is_connected_with_the_first_job(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    executor = RuntimeExecutor("ibm_manila", token=SECRET, channel="ibm_cloud", instance="crn:x", url="https://q")
    assert asked.arguments == {}
    assert float(executor.run([flip(0.0, 10)])[0]) == 1
    expected = {"token": SECRET, "channel": "ibm_cloud", "instance": "crn:x", "url": "https://q"}
    assert asked.arguments == expected


def test_what_is_not_given_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    for name, value in {"TOKEN": "other", "INSTANCE": "crn:y", "CHANNEL": "ibm_cloud"}.items():
        monkeypatch.setenv(f"QISKIT_IBM_{name}", value)
    RuntimeExecutor("ibm_manila", token=SECRET).run([flip(0.0, 10)])
    assert asked.arguments == {"token": SECRET, "instance": "crn:y", "channel": "ibm_cloud"}
    RuntimeExecutor("ibm_manila", instance="crn:x").run([flip(0.0, 10)])
    assert asked.arguments == {"token": "other", "instance": "crn:x", "channel": "ibm_cloud"}


def test_the_token_comes_from_the_argument_the_keyring_the_environment_or_a_file_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(monkeypatch)

    def token(given: str | None = None) -> Any:
        RuntimeExecutor("ibm_manila", token=given).run([flip(0.0, 10)])
        return asked.arguments["token"]

    found = [token()]
    (tmp_path / ".env").write_text("QISKIT_IBM_TOKEN=of-the-file\n")
    found.append(token())
    monkeypatch.setenv("QISKIT_IBM_TOKEN", "of-the-environment")
    found.append(token())
    credentials.store("ibm", "of-the-keyring")
    found.extend([token(), token(SECRET)])
    assert found == [None, "of-the-file", "of-the-environment", "of-the-keyring", SECRET]


def test_options_beside_a_service_are_refused_without_showing_them() -> None:
    with pytest.raises(qexec.ConfigurationError, match="token and instance given beside service=") as caught:
        RuntimeExecutor("ibm_manila", service=FakeService(FakeAPI()), token=SECRET, instance="crn:x")
    assert SECRET not in _printed(caught.value)


@pytest.mark.parametrize("error", [ValueError, RuntimeError])
def test_an_error_of_the_service_does_not_show_the_token(error: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Asked(monkeypatch, error(f"401: {SECRET} is wrong"))
    with pytest.raises((qexec.ConfigurationError, ConnectionError), match=r"401: \*\*\* is wrong") as caught:
        RuntimeExecutor("ibm_manila", token=SECRET).run([flip(0.0, 10)])
    assert SECRET not in _printed(caught.value)
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


def test_the_token_is_in_no_text_log_or_pickle(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    Asked(monkeypatch)
    with caplog.at_level(logging.DEBUG):
        executor = RuntimeExecutor("ibm_manila", token=SECRET, instance="crn:x", mode="session")
        executor.run([flip(0.0, 10)])
        executor.close()
    shown = [repr(executor), str(executor), repr(vars(executor)), repr(vars(executor.machine._account)), caplog.text]  # type: ignore[attr-defined]
    assert SECRET not in " ".join(shown)
    assert SECRET.encode() not in pickle.dumps(executor) + cloudpickle.dumps(executor)


def test_another_process_looks_the_token_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Asked(monkeypatch)
    copied = pickle.loads(pickle.dumps(RuntimeExecutor("ibm_manila", token=SECRET, instance="crn:x", name="mine")))
    assert (copied.name, copied.backend) == ("mine", "ibm_manila")
    copied.run([flip(0.0, 10)])
    assert asked.arguments == {"token": None, "instance": "crn:x"}
    assert pickle.loads(pickle.dumps(RuntimeExecutor("ibm_manila", token=SECRET))).run([flip(0.0, 10)])


def test_a_local_executor_can_be_pickled_after_use() -> None:
    executor = RuntimeExecutor("aer", wires=2, options={"simulator": {"seed_simulator": 5}})
    circuit = flip(0.7, 100)
    (expected,) = executor.run([circuit])
    pickled = pickle.dumps(executor)
    assert len(pickled) < 10_000
    assert pickle.loads(pickled).run([circuit]) == [expected]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RuntimeExecutor("ibm_manila", service=FakeService(FakeAPI())), "Give channel= and instance= instead"),
        (lambda: RuntimeExecutor(FakeManilaV2()), "'fake_manila' was given as an object"),
    ],
    ids=["service", "backend"],
)
def test_what_the_user_connected_is_not_pickled(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        pickle.dumps(make())


def _printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
