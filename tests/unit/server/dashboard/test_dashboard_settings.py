"""Settings on a page: checked before they are written; tokens are set and removed, and never shown."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import pytest
from keyring.backend import KeyringBackend

from pennylane_qexec.server.dashboard import configuration
from pennylane_qexec.server.dashboard.inspector import Inspector
from tests.fakes.dashboard_pages import Pages

CLUSTER = '[clusters.night]\nexecutors = ["lightning.qubit"]\n'


class MemoryKeyring(KeyringBackend):
    """A keyring that forgets."""

    priority = 1  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.secrets.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.secrets[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.secrets[service, username]


@pytest.fixture(autouse=True)
def _inspected_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of its own takes seconds to start; that it is one is another test's matter."""

    async def ask(self: Inspector, key: Any, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args)

    monkeypatch.setattr(Inspector, "ask", ask)


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKeyring]:
    before, memory = keyring.get_keyring(), MemoryKeyring()
    keyring.set_keyring(memory)
    monkeypatch.setattr(keyring, "get_keyring", lambda: memory)
    yield memory
    monkeypatch.undo()
    keyring.set_keyring(before)


def version(key: str = "folder") -> str:
    return configuration.read(key).version


def test_a_file_is_checked_and_written_whole(pages: Pages, tmp_path: Path) -> None:
    answer = pages.post("/settings/files/folder", text=CLUSTER.replace("\n", "\r\n"), version=version())
    assert answer.status_code == 303, answer.text
    assert (tmp_path / "qexec.toml").read_text() == CLUSTER
    assert "[clusters.night]" in pages.get("/settings")
    assert [path.name for path in tmp_path.glob("tmp*")] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[clusters.night", "no TOML"),
        ("[cluster.night]\nx = 1", "no table is called 'cluster'"),
        ("[clusters]\nnight = 3", "a table with a name"),
        ('[server]\nport = "many"', "setting port"),
        ("[server]\nprot = 8000", "no setting 'prot'"),
        ('[clusters.night]\nexecutors = ["lightnin.qubit"]', "[clusters.night]"),
        ('[clusters.night]\nexecutors = ["lightning.qubit"]\nselecter = "cyclic"', "selecter"),
    ],
)
def test_what_makes_no_sense_is_said_and_not_written(pages: Pages, tmp_path: Path, text: str, said: str) -> None:
    answer = pages.post("/settings/files/folder", text=text, version=version())
    assert answer.status_code == 422
    assert said in html.unescape(answer.text)
    assert html.escape(text, quote=False).splitlines()[0] in answer.text.replace("&#34;", '"')
    assert not (tmp_path / "qexec.toml").exists()


def test_a_file_can_be_checked_only(pages: Pages, tmp_path: Path) -> None:
    answer = pages.post("/settings/files/folder", text=CLUSTER, version=version(), action="check")
    assert "This can be written." in answer.text
    assert not (tmp_path / "qexec.toml").exists()


def test_what_somebody_else_has_changed_meanwhile_is_not_overwritten(pages: Pages, tmp_path: Path) -> None:
    before = version()
    (tmp_path / "qexec.toml").write_text("[server]\nport = 9000\n")
    answer = pages.post("/settings/files/folder", text=CLUSTER, version=before)
    assert answer.status_code == 422
    assert "was changed meanwhile" in answer.text
    assert "9000" in (tmp_path / "qexec.toml").read_text()


def test_there_are_no_other_files(pages: Pages) -> None:
    for name in ("..%2fx", "etc", "passwd"):
        assert pages.post(f"/settings/files/{name}", text=CLUSTER, version="").status_code in (404, 422)


def test_a_secret_in_a_file_is_neither_shown_nor_written(pages: Pages, tmp_path: Path) -> None:
    text = '[clusters.night]\nexecutors = ["lightning.qubit"]\n# token = "abcdef0123456789abcdef"\n'
    answer = pages.post("/settings/files/folder", text=text, version=version())
    assert answer.status_code == 422
    assert "secret" in answer.text
    (tmp_path / "qexec.toml").write_text(text)
    shown = pages.get("/settings")
    assert "abcdef0123456789abcdef" not in shown
    assert "cannot be changed here" in shown


def test_tokens_are_stored_replaced_and_removed_and_never_shown(pages: Pages, memory: MemoryKeyring) -> None:
    for token in ("first-secret-token-1", "second-secret-token-2"):
        assert pages.post("/settings/tokens", provider="ionq", api_key=token).status_code == 303
        assert any(token in secret for secret in memory.secrets.values())
        shown = pages.get("/settings")
        assert token not in shown
        assert "Replace the token of ionq" in shown
    assert pages.post("/settings/tokens/remove", provider="ionq").status_code == 303
    assert "Replace the token of ionq" not in pages.get("/settings")


def test_a_token_that_is_none_is_refused(pages: Pages, memory: MemoryKeyring) -> None:
    for fields in ({"provider": "ionq"}, {"provider": "ionq", "api_key": "  "}, {"provider": "quantinuum"}):
        assert pages.post("/settings/tokens", **fields).status_code == 422
    assert memory.secrets == {}
