"""Jobs at qBraid's providers: how they go, fail, end; and whose credentials they are sent with."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import cloudpickle
import pennylane as qml
import pytest
from fakes.qbraid_provider import FakeDevice, FakeJob, FakeProvider
from pennylane.tape import QuantumScript
from qbraid.runtime.exceptions import JobNotFoundError, RuntimeAPIError

import pennylane_qexec as qexec
from pennylane_qexec import JobState, QBraidExecutor, retries
from pennylane_qexec.testing import flip

SECRET = "s3cr3t-t0k3n"


class Vendor(FakeProvider):
    """A provider that is installed as a plug-in of qBraid."""

    device = FakeDevice()
    tokens: list[str | None] = []  # noqa: RUF012

    def __init__(self, api_key: str | None = None) -> None:
        if api_key == "wr0ng-k3y":
            raise ValueError("the key 'wr0ng-k3y' is wrong")
        super().__init__({"sim": self.device}, api_key)
        self.tokens.append(api_key)

    @classmethod
    def find(cls, job_id: str, device: Any) -> FakeJob:
        return cls.device.jobs[job_id]


find = Vendor.find


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Vendor]:
    """The provider ``vendor``, known to qBraid by its entry points."""
    points = f"[qbraid.providers]\nvendor = {__name__}:Vendor\nbroken = nowhere:Provider\n[qbraid.jobs]\n"
    folder = tmp_path / "vendor-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: vendor\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(f"{points}vendor = {__name__}:find\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("QEXEC_VENDOR_TOKEN", raising=False)
    Vendor.device, Vendor.tokens = FakeDevice(), []
    return Vendor


def on(device: FakeDevice, **options: Any) -> QBraidExecutor:
    """An executor that asks often."""
    executor = QBraidExecutor(FakeProvider({device.id: device}), device.id, **options)
    executor.poll_interval = executor.poll_interval_max = 1e-4
    return executor


# -- how they go


def test_the_states_of_a_job_are_those_of_qbraid() -> None:
    states = ("INITIALIZING", "QUEUED", "VALIDATING", "RUNNING", "UNKNOWN", "CANCELLING", "COMPLETED")
    executor = on(FakeDevice(states=states))
    job_id = executor.submit([flip(0.1, 5)])
    found = [executor.poll(job_id) for _ in states]
    assert found == [*[JobState.WAITING] * 3, *[JobState.RUNNING] * 3, JobState.DONE]


def test_several_jobs_are_one_with_their_ids_joined_and_those_that_ended_are_not_asked_again() -> None:
    device = FakeDevice(states=("QUEUED", "QUEUED", "COMPLETED"), batch=False)
    executor = on(device)
    circuits = [flip(angle, 5) for angle in (0.0, 1.0, 2.0)]
    job_id = executor.submit(circuits)
    assert job_id == "sim-1+sim-2+sim-3"
    states = [executor.poll(job_id) for _ in range(7)]
    assert states == [*[JobState.WAITING] * 2, *[JobState.RUNNING] * 4, JobState.DONE]
    assert [job.polls for job in device.jobs.values()] == [3, 3, 3]
    assert executor.fetch(job_id)[0] == 1


def test_a_slow_job_is_waited_for_in_a_cluster(open_cluster: Any) -> None:
    device = FakeDevice(states=("QUEUED", "RUNNING", "COMPLETED"))
    assert open_cluster(on(device)).execute([flip(0.0, 5)]) == [1]


@pytest.mark.parametrize("batch", [True, False])
def test_a_job_is_cancelled_once_and_one_that_ended_is_left_alone(batch: bool) -> None:
    device = FakeDevice(states=("RUNNING",), batch=batch)
    executor = on(device)
    job_id = executor.submit([flip(0.1, 5), flip(0.2, 5)])
    executor.cancel(job_id)
    assert all(job.cancelled for job in device.jobs.values())
    assert executor.poll(job_id) is JobState.CANCELLED
    with pytest.raises(qexec.JobCancelledError, match="was cancelled at 'sim'"):
        executor.fetch(job_id)
    device.jobs.clear()
    executor.cancel(job_id)


# -- how they fail


def test_a_job_that_fails_gives_the_message_of_the_provider() -> None:
    executor = on(FakeDevice(states=("RUNNING", "FAILED"), reason="the fridge is warm"))
    with pytest.raises(qexec.JobFailedError, match="job 'sim-1' failed at 'sim': the fridge is warm"):
        executor.run([flip(0.1, 5)])


def test_a_job_that_fails_without_a_message_is_not_given_that_of_another_one() -> None:
    with pytest.raises(qexec.JobFailedError, match="the fridge is warm"):
        on(FakeDevice(states=("FAILED",), reason="the fridge is warm")).run([flip(0.1, 5)])
    with pytest.raises(qexec.JobFailedError) as caught:
        on(FakeDevice(states=("FAILED",))).run([flip(0.1, 5)])
    assert "fridge" not in str(caught.value)


def test_jobs_beside_one_that_failed_are_cancelled() -> None:
    device = FakeDevice(states=("FAILED",), batch=False)
    executor = on(device)
    job_id = executor.submit([flip(0.1, 5), flip(0.2, 5)])
    device.jobs["sim-2"].fate = ("RUNNING",)
    assert executor.poll(job_id) is JobState.FAILED
    with pytest.raises(qexec.JobFailedError):
        executor.fetch(job_id)
    assert [job.cancelled for job in device.jobs.values()] == [False, True]


def test_results_that_are_withheld_are_neither_waited_for_nor_paid_for_again(open_cluster: Any) -> None:
    device = FakeDevice(states=("HOLD",))
    with pytest.raises(qexec.ExecutorError, match=r"at attempt 1: .* withholds its results"):
        open_cluster(on(device)).execute([flip(0.1, 5)])
    assert len(device.jobs) == 1


def test_withheld_results_are_there_once_the_account_is_settled() -> None:
    device = FakeDevice(states=("HOLD", "HOLD", "COMPLETED"))
    executor = on(device)
    circuits = [flip(0.0, 5)]
    job_id = executor.submit(circuits)
    assert executor.poll(job_id) is JobState.FAILED
    with pytest.raises(qexec.ConfigurationError, match=r"fetch them with recover\(job_id, circuits\)"):
        executor.fetch(job_id)
    assert executor.recover(job_id, circuits) == [1]


def test_if_the_second_of_two_jobs_cannot_be_sent_the_first_is_cancelled() -> None:
    class Moody(FakeDevice):
        def submit(self, run_input: Any, *, shots: int, **options: Any) -> Any:
            if self.jobs:
                raise ConnectionError("the line is dead")
            return super().submit(run_input, shots=shots, **options)

    device = Moody(states=("RUNNING",))
    with pytest.raises(ConnectionError, match="the line is dead"):
        on(device).submit([flip(0.1, 5), flip(0.1, 6)])
    assert [job.cancelled for job in device.jobs.values()] == [True]


def test_what_cannot_be_sent_is_tried_again(open_cluster: Any) -> None:
    device = FakeDevice()
    device.broken.append(ConnectionError("the line is dead"))
    assert open_cluster(on(device), retry=retries.backoff(initial=0)).execute([flip(0.0, 5)]) == [1]


# -- providers by name


def test_a_device_is_named_by_a_spec_and_looked_up_with_the_first_job(vendor: type[Vendor]) -> None:
    vendor.device = FakeDevice("a:b")
    executor = qexec.executor("qbraid:vendor:sim")
    assert (executor.name, executor.backend, vendor.tokens) == ("qbraid:vendor:sim", "sim", [])
    assert executor.run([flip(0.0, 5)]) == [1]
    assert vendor.tokens == [None]
    assert QBraidExecutor("aws:arn:aws:braket").backend == "arn:aws:braket"


def test_tokens_are_looked_up_or_given(vendor: type[Vendor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_VENDOR_TOKEN", "of-the-environment")
    QBraidExecutor("vendor:sim").run([flip(0.0, 5)])
    QBraidExecutor("vendor", "sim", credentials={"token": SECRET}).run([flip(0.0, 5)])
    assert vendor.tokens == ["of-the-environment", SECRET]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vendr:sim", r"no provider of qBraid is called 'vendr'. Did you mean 'vendor'\?"),
        ("vendor:simm", r"the provider 'vendor' has no device 'simm' \(KeyError"),
        ("broken:sim", r"'broken' cannot be loaded \(ModuleNotFoundError.*pip install 'qbraid\[broken\]'"),
    ],
)
def test_what_cannot_be_found_is_named(vendor: type[Vendor], spec: str, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        QBraidExecutor(spec).run([flip(0.1, 5)])


def test_without_a_token_it_is_said_how_to_give_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("IONQ_API_KEY", raising=False)
    with pytest.raises(qexec.ConfigurationError, match=r"`qexec token set ionq`, or set IONQ_API_KEY"):
        QBraidExecutor("ionq:simulator").run([flip(0.1, 5)])


def test_arguments_that_the_provider_does_not_have_are_named_and_not_shown(vendor: type[Vendor]) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"with the arguments \['url'\]") as caught:
        QBraidExecutor("vendor", "sim", credentials={"url": SECRET}).run([flip(0.1, 5)])
    assert SECRET not in _printed(caught.value)


def test_a_token_that_the_provider_refuses_is_not_shown(vendor: type[Vendor]) -> None:
    executor = QBraidExecutor("vendor", "sim", credentials={"token": "wr0ng-k3y"})
    with pytest.raises(qexec.ConfigurationError, match=r"the key '\*\*\*' is wrong") as caught:
        executor.run([flip(0.1, 5)])
    assert "wr0ng-k3y" not in _printed(caught.value)


@pytest.mark.parametrize("kind", [RuntimeError, ValueError, ConnectionError])
def test_an_error_of_the_device_does_not_show_the_token(vendor: type[Vendor], kind: Any) -> None:
    executor = QBraidExecutor("vendor", "sim", credentials={"token": SECRET})
    vendor.device.broken.append(kind(f"POST https://vendor?key={SECRET}: 500"))
    with pytest.raises(kind, match=r"key=\*\*\*: 500") as caught:
        executor.run([flip(0.1, 5)])
    assert SECRET not in _printed(caught.value)


def test_the_reason_of_a_failed_job_does_not_show_the_token(vendor: type[Vendor]) -> None:
    vendor.device = FakeDevice(states=("FAILED",), reason=f"{SECRET} has no money")
    with pytest.raises(qexec.JobFailedError, match=r"\*\*\* has no money") as caught:
        QBraidExecutor("vendor", "sim", credentials={"token": SECRET}).run([flip(0.1, 5)])
    assert SECRET not in _printed(caught.value)


def test_the_token_is_in_no_text_log_or_pickle(vendor: type[Vendor], caplog: Any) -> None:
    with caplog.at_level(logging.DEBUG):
        executor = QBraidExecutor("vendor", "sim", credentials={"token": SECRET}, name="mine")
        executor.run([flip(0.0, 10)])
    shown = [repr(executor), str(executor), repr(vars(executor)), repr(vars(executor.machine)), caplog.text]
    assert SECRET not in " ".join(shown)
    assert SECRET.encode() not in pickle.dumps(executor) + cloudpickle.dumps(executor)
    copied = pickle.loads(pickle.dumps(executor))
    assert (copied.name, copied.run([flip(0.0, 10)]), vendor.tokens) == ("mine", [1], [SECRET, None])


@pytest.mark.parametrize(
    "make", [lambda: QBraidExecutor(FakeProvider(), "sim"), lambda: QBraidExecutor("x", FakeDevice())]
)
def test_what_the_user_made_is_not_pickled(make: Any) -> None:
    with pytest.raises(TypeError, match="'sim' was given as an object"):
        pickle.dumps(make())


# -- jobs of other processes


def test_a_job_of_another_process_is_recovered_by_its_id(vendor: type[Vendor]) -> None:
    vendor.device = FakeDevice(states=("QUEUED", "COMPLETED"), batch=False)
    circuits = [QuantumScript([qml.X(1)], [qml.counts(wires=[0, 1])], shots=5), flip(0.0, 6)]
    job_id = QBraidExecutor("vendor:sim").submit(circuits)
    other = QBraidExecutor("vendor:sim")
    other.poll_interval = 1e-4
    with pytest.raises(qexec.ConfigurationError, match="its circuits are not known here: use recover"):
        other.fetch(job_id)
    assert other.recover(job_id, circuits) == [{"01": 5}, 1]


def test_a_job_is_not_taken_for_one_of_other_circuits(vendor: type[Vendor]) -> None:
    job_id = QBraidExecutor("vendor:sim").submit([flip(0.0, 6)])
    with pytest.raises(qexec.JobFailedError, match="1 circuits were counted, and 2 were asked for"):
        QBraidExecutor("vendor:sim").recover(job_id, [flip(0.0, 6), flip(1.0, 6)])


@pytest.mark.parametrize("ask", ["poll", "fetch", "cancel"])
def test_a_job_that_the_provider_does_not_have_is_said_not_to_be_there(vendor: type[Vendor], ask: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match="the provider has no job 'sim-7'"):
        getattr(QBraidExecutor("vendor:sim"), ask)("sim-7")


@pytest.mark.parametrize("missing", [JobNotFoundError("no such task", 404), RuntimeAPIError("not found", 404)])
def test_a_job_that_the_provider_has_forgotten_is_said_not_to_be_there(
    vendor: type[Vendor], monkeypatch: pytest.MonkeyPatch, missing: Exception
) -> None:
    job_id = QBraidExecutor("vendor:sim").submit([flip(0.0, 6)])

    def forgotten(self: FakeJob) -> None:
        raise missing

    monkeypatch.setattr(FakeJob, "status", forgotten)
    with pytest.raises(qexec.ConfigurationError, match="the provider has no job 'sim-1'"):
        QBraidExecutor("vendor:sim").poll(job_id)


def test_labels_of_jobs_are_not_kept_by_all_providers_and_so_by_none(vendor: type[Vendor]) -> None:
    executor = QBraidExecutor("vendor:sim")
    job_id = executor.submit_labelled([flip(0.0, 6)], "label")
    assert (executor.labels, executor.find("label"), executor._awaited(job_id)) == (False, None, [1])


def test_jobs_of_a_provider_given_as_an_object_cannot_be_found() -> None:
    with pytest.raises(qexec.ConfigurationError, match="the provider was given as an object"):
        on(FakeDevice()).poll("sim-1")


def test_jobs_of_rigetti_cannot_be_found() -> None:
    with pytest.raises(qexec.ConfigurationError, match="cannot find jobs of the provider 'rigetti'"):
        QBraidExecutor("rigetti", FakeDevice()).poll("sim-1")


def _printed(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
