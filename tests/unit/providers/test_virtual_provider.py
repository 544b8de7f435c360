"""All providers as one: lazily, each once, and one that fails does not stop the others."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

import pennylane_qexec as qexec
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Status
from pennylane_qexec.providers import Backend, Provider, VirtualProvider

QUIET = partial(qexec.DeviceExecutor, "default.qubit")


class Mine(Provider):
    """Two backends, of which one is offline and one fails to say; it counts how often it is loaded."""

    name = "mine"

    def __init__(self) -> None:
        self.loaded = 0

    def backends(self) -> Mapping[str, Backend]:
        self.loaded += 1
        return {
            "zoe": Backend("mine", "zoe", QUIET),
            "down": Backend("mine", "down", QUIET, ask=lambda: Status(online=False)),
            "adam": Backend("mine", "adam", QUIET, ask=_fail),
        }


class Broken(Provider):
    name = "broken"

    def backends(self) -> Mapping[str, Backend]:
        raise ValueError("no route to host;\nthe token is sesame-1234")


def _fail() -> Status:
    raise OSError("the wire is cut")


def test_nothing_is_loaded_before_it_is_needed_and_then_once() -> None:
    mine, other = Mine(), Mine()
    virtual = VirtualProvider(providers={"mine": mine, "other": other})
    assert list(virtual.get_providers()) == ["mine", "other"]
    assert (mine.loaded, other.loaded) == (0, 0)
    assert str(virtual.get_backend("mine", "zoe")) == "mine/zoe"
    assert (mine.loaded, other.loaded) == (1, 0)
    assert list(virtual.get_backends()["other"]) == ["zoe", "down", "adam"]
    assert (mine.loaded, other.loaded) == (1, 1)


def test_many_threads_load_a_provider_once() -> None:
    mine, barrier = Mine(), threading.Barrier(8)
    virtual = VirtualProvider(providers={"mine": mine})

    def ask(_: int) -> Backend:
        barrier.wait()
        return virtual.get_backend("mine", "zoe")

    with ThreadPoolExecutor(8) as pool:
        backends = list(pool.map(ask, range(8)))
    assert mine.loaded == 1
    assert all(backend is backends[0] for backend in backends)


def test_backends_have_the_name_under_which_their_provider_was_added() -> None:
    virtual = VirtualProvider(providers={"ours": Mine()})
    assert virtual.get_backend("ours", "zoe").executor().name == "ours/zoe"


def test_a_provider_that_fails_is_reported_once_and_the_others_work(caplog: pytest.LogCaptureFixture) -> None:
    virtual = VirtualProvider(providers={"broken": Broken(), "mine": Mine()})
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        assert list(virtual.get_backends()) == list(virtual.get_backends()) == ["mine"]
    reason = "ValueError: no route to host; the token is sesame-1234"
    assert caplog.messages == [f"provider 'broken' cannot be used: {reason}"]
    assert virtual.errors == {"broken": reason}
    with pytest.raises(qexec.ConfigurationError, match="provider 'broken' cannot be used: ValueError: no route"):
        virtual.get_backend("broken", "any")


def test_online_backends_are_those_that_answer_that_they_are(caplog: pytest.LogCaptureFixture) -> None:
    virtual = VirtualProvider(providers={"mine": Mine()})
    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        assert list(virtual.get_backends(online=True)["mine"]) == ["zoe"]
    assert caplog.messages == ["backend 'mine/adam' is taken for offline: OSError: the wire is cut"]


def test_a_backend_that_never_answers_is_left_out(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pennylane_qexec.providers import virtual as module

    monkeypatch.setattr(module, "_SECONDS_TO_ANSWER", 0.01)
    never = threading.Event()

    class Silent(Provider):
        def backends(self) -> Mapping[str, Backend]:
            return {"deaf": Backend("silent", "deaf", QUIET, ask=lambda: Status(never.wait()))}

    with caplog.at_level(logging.WARNING, "pennylane_qexec"):
        assert VirtualProvider(providers={"silent": Silent()}).get_backends(online=True) == {"silent": {}}
    never.set()
    assert caplog.messages == ["no answer after 0.01 s, taken for offline: silent/deaf"]


def test_a_list_of_names_restricts_the_providers() -> None:
    virtual = VirtualProvider(providers=["local_cirq"])
    assert list(virtual.get_backends()) == ["local_cirq"]
    assert repr(virtual) == "<VirtualProvider of local_cirq>"
    with pytest.raises(qexec.ConfigurationError, match=r"'local_aer'.* chosen with providers="):
        virtual.get_backend("local_aer", "aer_simulator")


def test_a_provider_may_be_added_to_those_that_were_chosen_but_under_a_name_of_its_own() -> None:
    virtual = VirtualProvider(providers=["local_cirq"])
    virtual.add_provider("mine", Mine())
    assert list(virtual.get_providers()) == ["local_cirq", "mine"]
    for name in ("mine", "local_cirq"):
        with pytest.raises(qexec.ConfigurationError, match=f"there is a provider called '{name}' already"):
            virtual.add_provider(name, Mine())
    with pytest.raises(qexec.ConfigurationError, match="cannot be a provider's name"):
        virtual.add_provider("a/b", Mine())


def test_a_token_in_the_environment_makes_a_provider_one_of_those_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONQ_API_KEY", "sesame-5678")
    virtual = VirtualProvider()
    assert list(virtual.get_providers())[:3] == ["local_aer", "local_pennylane", "local_cirq"]
    assert "ionq" in virtual.get_providers()
    assert "sesame" not in repr(virtual) + repr(virtual.get_providers())


def test_information_about_a_provider_makes_it_one_of_those_in_use_and_is_shown_nowhere() -> None:
    virtual = VirtualProvider({"oqc": {"token": "sesame-9012"}})
    assert "oqc" in virtual.get_providers()
    assert "sesame" not in repr(virtual) + repr(virtual.get_providers())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"providers": ["local_aer", "iong"]}, "no provider is called 'iong'. Did you mean 'ionq'? Known: aqt, "),
        ({"providers": "local_aer"}, "give a list of names, ['local_aer']"),
        ({"providers": {"mine": 5}}, "the provider 'mine' is a int: give an object of a subclass of"),
        ({"providers_info": {"iong": {}}}, "no provider is called 'iong'. Did you mean 'ionq'?"),
        ({"providers_info": {"ionq": "sesame"}}, "providers_info['ionq'] is no mapping of names"),
        ({"providers_info": {"local_aer": {"seed": 5}}}, "provider 'local_aer' is local and takes none of ['seed']"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(qexec.ConfigurationError) as caught:
        VirtualProvider(**arguments)  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert "sesame" not in str(caught.value)


def test_unknown_names_are_answered_with_the_nearest_ones() -> None:
    virtual = VirtualProvider()
    with pytest.raises(qexec.ConfigurationError, match=r"provider is called 'local_air'\. Did you mean 'local_aer'\?"):
        virtual.get_backend("local_air", "aer_simulator")
    with pytest.raises(qexec.ConfigurationError, match=r"is called 'fake_manilla'\. Did you mean 'fake_manila'"):
        virtual.get_backend("local_aer", "fake_manilla")


def test_what_is_no_backend_is_a_reason_not_to_use_a_provider() -> None:
    class Odd(Provider):
        def backends(self) -> Mapping[str, Backend]:
            return {"odd": 5}  # type: ignore[dict-item]

    virtual = VirtualProvider(providers={"odd": Odd()})
    assert virtual.get_backends() == {}
    assert virtual.errors == {"odd": "backends() has 5, which is no Backend: make it with Backend(...)."}


class Odd(Provider):
    """Its backends are whatever it was given, or raised if that is an error."""

    name = "odd"

    def __init__(self, found: Any) -> None:
        self.found = found

    def backends(self) -> Mapping[str, Backend]:
        if isinstance(self.found, BaseException):
            raise self.found
        backends: Mapping[str, Backend] = self.found
        return backends


ODD: list[tuple[Any, str]] = [
    (None, "backends() returned None"),
    (["zoe"], "no mapping"),
    ({1: Backend("odd", "one", QUIET)}, "call it '1'"),
    ({"one": 1}, "no Backend"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (GeneratorExit(), "GeneratorExit"),
    (SystemExit(3), "SystemExit: 3"),
]


@pytest.mark.parametrize(("found", "why"), ODD)
def test_whatever_odd_a_provider_does_is_the_reason_why_it_cannot_be_used(found: Any, why: str) -> None:
    virtual = VirtualProvider(providers={"odd": Odd(found), "mine": Mine()})
    assert list(virtual.get_backends()) == ["mine"]
    assert why in virtual.errors["odd"]
    with pytest.raises(ConfigurationError, match="cannot be used"):
        virtual.get_backend("odd", "one")


def _leaves() -> Status:
    raise SystemExit(1)


def test_a_backend_that_wants_to_end_the_program_when_asked_is_offline() -> None:
    backends = {"rude": Backend("odd", "rude", QUIET, ask=_leaves), "zoe": Backend("odd", "zoe", QUIET)}
    virtual = VirtualProvider(providers={"odd": Odd(backends)})
    assert list(virtual.get_backends(online=True)["odd"]) == ["zoe"]


def test_what_is_given_for_providers_is_not_shown_by_what_shows_attributes() -> None:
    virtual = VirtualProvider({"ionq": {"api_key": "sesame-1234"}}, providers=["ionq"])
    (provider,) = virtual.get_providers().values()
    assert "sesame" not in f"{vars(virtual)} {vars(provider)}"


def test_a_backend_that_wants_to_end_the_program_when_made_is_an_error_of_its_own() -> None:
    with pytest.raises(ConfigurationError, match="wanted to end the program"):
        Backend("odd", "rude", _leaves).executor()  # type: ignore[arg-type]


def test_a_backend_can_be_had_by_its_full_name() -> None:
    virtual = VirtualProvider()
    assert virtual.get_backend("local_aer/fake_manila") is virtual.get_backend("local_aer", "fake_manila")
    with pytest.raises(ConfigurationError, match="local_aer"):
        virtual.get_backend("local_aer")
