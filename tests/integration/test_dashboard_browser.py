"""The dashboard in a real browser: every page in both themes and at the width of a phone, and what is done on them."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pennylane as qml
import pytest
from axe_playwright_python.sync_playwright import Axe
from fakes.dashboard_pages import HOSTILE, record, record_experiment
from fakes.server_process import server_process
from pennylane.tape import QuantumScript
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from pennylane_qexec import QCluster
from pennylane_qexec.persistence.durable import durable_run
from pennylane_qexec.persistence.store import NewJob, Store, open_store
from pennylane_qexec.server.records import JobStatus, NewServerJob, open_records

pytestmark = [pytest.mark.integration, pytest.mark.slow]

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SIZES = {"desktop": {"width": 1280, "height": 900}, "phone": {"width": 390, "height": 800}}


@dataclass
class Site:
    """A server with a store that has runs and jobs."""

    url: str
    path: str
    store: Store
    job: str
    circuit: int
    run: int


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("dashboard")
    path = str(folder / "qexec.db")
    with open_store(path) as store:
        run = record(store, HOSTILE)
        record_experiment(store)
        measurements = [qml.counts(), qml.expval(qml.Z(0))]
        with QCluster("lightning.qubit", seed=7) as cluster, durable_run("bell", store):
            cluster.execute([QuantumScript([qml.H(0), qml.CNOT([0, 1])], measurements, shots=100)])
        (circuit,) = (job.id for job in store.jobs(store.run("bell").id))
        with open_records(path, lease=1e6) as another, server_process(folder, store=path) as server:
            another.add(NewServerJob("runs-for-ever", "local", "sampler", "fake_manila"), b"{}", 10)
            another.claim(["runs-for-ever"])  # another server has it
            yield Site(server.url, path, store, "runs-for-ever", circuit, run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = os.environ.get("QEXEC_BROWSER") or next(filter(None, map(shutil.which, BROWSERS)), None)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """A function that opens a page of the site, in a new browser; nothing may go wrong there."""
    contexts, wrong = [], []

    def opened(path: str, size: str = "desktop", theme: Any = "light") -> Page:
        contexts.append(browser.new_context(viewport=SIZES[size], color_scheme=theme))  # type: ignore[arg-type]
        page = contexts[-1].new_page()
        page.on("console", lambda message: wrong.append(message.text) if _is_wrong(message) else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.goto(f"{site.url}/dashboard{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def _is_wrong(message: ConsoleMessage) -> bool:
    """Whether a message of a browser's console is of an error, other than that a form was not taken."""
    return message.type == "error" and "422" not in message.text


PAGES = {
    "overview": "/",
    "jobs": "/jobs",
    "job": "/jobs/{job}",
    "runs": "/runs",
    "run": "/runs/{run}",
    "compared": "/runs/compare?run={run}",
    "circuits": "/circuits",
    "circuit": "/circuits/{circuit}",
    "experiments": "/experiments",
    "experiment": "/experiments/one?name=%3Cscript%3Ealert(1)%3C/script%3E",
    "timeline": "/timeline?span=day&of=runs",
    "settings": "/settings",
}


@pytest.mark.parametrize(("size", "theme"), [("desktop", "light"), ("phone", "dark")])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_can_be_used_by_everybody(
    open_page: Callable[..., Page], site: Site, name: str, size: str, theme: str
) -> None:
    page = open_page(PAGES[name].format(**vars(site)), size, theme)
    if name in ("circuit", "job"):
        expect(page.get_by_text("Drawing the")).to_have_count(0, timeout=150_000)
    if name == "experiment":
        expect(page.get_by_text("No backend has changed.", exact=False)).to_be_visible(timeout=150_000)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= SIZES[size]["width"]


def test_what_is_recorded_meanwhile_appears_without_loading_the_page_again(
    open_page: Callable[..., Page], site: Site
) -> None:
    page = open_page("/circuits")
    expect(page.locator("tbody tr").first).to_be_visible()
    page.evaluate("window.theSamePage = true")
    page.locator("tbody a").first.focus()
    (new,) = site.store.record(site.run, [NewJob(500, "key", "digest 500", "circuit", "south")])
    expect(page.locator(f"#circuit-{new.id}")).to_be_visible()
    assert page.evaluate("window.theSamePage")
    assert page.evaluate("document.activeElement.tagName") == "A"  # who uses the keyboard stays where they are


def test_circuits_are_looked_for_by_the_keyboard(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("/circuits")
    page.keyboard.press("/")
    page.keyboard.type("bell")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page).to_have_url(re.compile("text=bell"))
    page.locator("tbody a").first.click()
    expect(page.get_by_text("expval(Z(0))")).to_be_visible(timeout=150_000)
    expect(page.locator(".histogram")).to_be_visible()


def test_a_run_is_forked_on_its_page(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page(f"/runs/{site.run}")
    expect(page.locator(".chart canvas")).to_be_visible()
    page.get_by_label("At a mark").fill("step 1")
    page.get_by_label("Name of the new run").fill("forked")
    page.get_by_role("button", name="Fork").click()
    expect(page.get_by_role("heading", name="forked")).to_be_visible()
    expect(page.get_by_text("at circuit 2")).to_be_visible()
    assert site.store.run("forked").fork_point == 2


def test_a_job_is_cancelled_on_its_page(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page(f"/jobs/{site.job}")
    page.get_by_role("button", name="Cancel this job").click()
    expect(page.get_by_role("button", name="Being cancelled")).to_be_disabled()
    with open_records(site.path) as records:
        assert records.watch([site.job])[site.job] == (JobStatus.RUNNING, True)


def test_runs_are_chosen_and_compared(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("/runs")
    for box in page.get_by_role("checkbox").all()[:2]:
        box.check()
    page.get_by_role("button", name="Compare").click()
    expect(page.locator(".chart canvas")).to_be_visible()
    expect(page.locator(".table tbody tr")).to_have_count(2)


def test_the_theme_is_chosen_and_remembered(open_page: Callable[..., Page], site: Site) -> None:
    page = open_page("/runs")
    back = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(back)
    page.locator("summary").click()
    page.get_by_label("Theme").select_option("dark")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate(back) != light


def test_settings_are_written_after_they_were_checked(
    open_page: Callable[..., Page], site: Site, tmp_path: Path
) -> None:
    page = open_page("/settings")
    page.locator("#text-folder").fill("[server]\nprot = 8000")
    page.get_by_role("button", name="Check and write").first.click()
    expect(page.get_by_text("a server has no setting 'prot'")).to_be_visible()
    page.locator("#text-folder").fill("[server]\nport = 8000")
    page.get_by_role("button", name="Check and write").first.click()
    expect(page.get_by_text("The file is written.")).to_be_visible()
