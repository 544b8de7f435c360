"""The dashboard: pages about executors, jobs, runs and experiments, for a server or for the store of any program."""

from pennylane_qexec.server.dashboard.app import (
    PREFIX,
    create_dashboard,
    create_pages,
    opened,
    release_browsers,
    serve_dashboard,
    to_the_dashboard,
)

__all__ = [
    "PREFIX",
    "create_dashboard",
    "create_pages",
    "opened",
    "release_browsers",
    "serve_dashboard",
    "to_the_dashboard",
]
