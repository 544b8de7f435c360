"""Who may see the pages, and what keeps others from changing anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pennylane_qexec.persistence.store import Store
from pennylane_qexec.server.dashboard import create_dashboard
from pennylane_qexec.server.records import open_records
from tests.fakes.dashboard_pages import HOSTILE, Pages, record

PAGES = ("/", "/runs", "/runs/1", "/runs/compare?run=1", "/circuits", "/circuits/1", "/timeline", "/settings")


def test_the_root_leads_to_the_dashboard(pages: Pages) -> None:
    assert pages.client.get("/", follow_redirects=False).headers["location"] == "/dashboard/"


def test_every_answer_forbids_what_comes_from_elsewhere(pages: Pages, store: Store) -> None:
    record(store)
    for path in (*PAGES, "/nowhere", "/static/dashboard.css", "/sign-in"):
        headers = pages.client.get(f"/dashboard{path}").headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"


def test_no_page_has_a_program_or_a_style_in_it_or_loads_one_from_elsewhere(pages: Pages, store: Store) -> None:
    record(store)
    for path in PAGES:
        text = pages.get(path)
        assert "<script>" not in text
        assert " style=" not in text
        assert "onclick" not in text
        assert (
            "//" not in text.replace("http://www.w3.org/2000/svg", "").replace("https://", "//") or path == "/settings"
        )


def test_names_and_errors_of_others_are_text(pages: Pages, store: Store) -> None:
    record(store, HOSTILE)
    store.open_run('"><img src=x onerror=alert(1)>')
    for path in PAGES:
        text = pages.get(path)
        assert HOSTILE not in text
        assert "<img" not in text
    assert "&lt;script&gt;alert(1)" in pages.get("/runs")
    assert "&lt;script&gt;alert(1)" in pages.get("/circuits")


def test_secrets_in_errors_are_not_shown(pages: Pages, store: Store) -> None:
    run = store.open_run("vqe").id
    from pennylane_qexec.persistence.store import Ended, NewJob

    (job,) = store.record(run, [NewJob(0, "k", "d", "c", "north")], "me", 60.0)
    store.failed([Ended(job.id, error="refused: token=abcdef0123456789")], "me")
    for path in ("/", "/circuits", f"/circuits/{job.id}", f"/runs/{run}"):
        assert "abcdef0123456789" not in pages.get(path)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_origin_can_change_nothing(pages: Pages, store: Store, headers: dict[str, str]) -> None:
    run = record(store, circuits=2, done=2)
    answer = pages.post(f"/runs/{run}/fork", headers, new="fork")
    assert answer.status_code == 403
    assert [one.name for one in store.runs()] == ["vqe"]


@pytest.mark.parametrize("token", ["", "0" * 64])
def test_without_what_the_form_has_nothing_is_changed(pages: Pages, store: Store, token: str) -> None:
    run = record(store, circuits=2, done=2)
    assert pages.post(f"/runs/{run}/fork", new="fork", form_token=token).status_code == 403
    for path in ("/sign-out", "/preferences", "/settings/files/user", "/settings/tokens", "/settings/tokens/remove"):
        assert pages.post(path, form_token=token).status_code == 403, path
    assert len(store.runs()) == 1


def test_from_another_machine_nothing_is_shown_as_long_as_there_are_no_tokens(pages: Pages) -> None:
    with TestClient(pages.client.app, base_url="http://lab.example") as client:
        assert client.get("/dashboard/runs").status_code == 403


def test_with_tokens_browsers_sign_in_and_out(
    pages: Pages, open_pages: Callable[[], Pages], store: Store, tmp_path: Path
) -> None:
    with open_records(tmp_path / "runs.db") as records:
        admin = records.add_token("ada", admin=True)
        number = records.tokens()[0].id
        browser = TestClient(create_dashboard(str(tmp_path / "runs.db")))
        with browser:
            assert browser.get("/dashboard/runs", follow_redirects=False).headers["location"] == "/dashboard/sign-in"
            part = browser.get("/dashboard/runs", headers={"hx-request": "true"})
            assert (part.status_code, part.headers["hx-redirect"]) == (401, "/dashboard/sign-in")
            form = browser.get("/dashboard/sign-in").text.split('name="form_token" value="')[1].split('"')[0]
            wrong = browser.post("/dashboard/sign-in", data={"form_token": form, "token": "nobody"})
            assert wrong.status_code == 401
            assert "nobody's, or was revoked" in wrong.text
            signed = browser.post(
                "/dashboard/sign-in", data={"form_token": form, "token": admin}, follow_redirects=False
            )
            cookie = signed.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert "path=/dashboard" in cookie
            assert admin not in cookie
            assert browser.get("/dashboard/runs").status_code == 200
            assert browser.get("/v1/backends").status_code == 404  # the cookie is for pages only
            records.revoke(number)
            assert browser.get("/dashboard/runs", follow_redirects=False).status_code == 303


def test_who_is_no_admin_sees_no_runs_and_no_settings(store: Store, tmp_path: Path) -> None:
    record(store)
    with open_records(tmp_path / "runs.db") as records:
        token = records.add_token("bob")
    with TestClient(create_dashboard(str(tmp_path / "runs.db"))) as browser:
        form = browser.get("/dashboard/sign-in").text.split('name="form_token" value="')[1].split('"')[0]
        browser.post("/dashboard/sign-in", data={"form_token": form, "token": token})
        for path in (
            "/runs",
            "/runs/1",
            "/runs/1/values",
            "/circuits",
            "/circuits/1",
            "/circuits/1/content",
            "/settings",
        ):
            assert browser.get(f"/dashboard{path}").status_code == 403, path
        assert "north" not in browser.get("/dashboard/").text


def test_preferences_are_remembered_and_nonsense_is_not(pages: Pages) -> None:
    assert pages.post("/preferences", theme="dark", refresh="5").status_code == 303
    text = pages.get("/runs")
    assert 'data-theme="dark"' in text
    pages.post("/preferences", theme='"><script>', refresh="soon")
    assert 'data-theme="dark"' in pages.get("/runs")
    pages.post("/preferences", theme="light", refresh="0")
    assert "sse-connect" not in pages.get("/runs")


def test_a_form_that_is_too_large_or_none_is_refused(pages: Pages) -> None:
    token = pages.token()
    answer = pages.client.post("/dashboard/preferences", content=b"\xff\xfe", headers={"x-form-token": token})
    assert answer.status_code == 400
    answer = pages.client.post("/dashboard/preferences", content=b"a=" + b"x" * 2_000_000)
    assert answer.status_code == 413
