"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_REQUEST_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_JOB_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)


class Metrics:
    """The metrics of one server, in a registry of their own: several servers in one process do not mix.

    Attributes:
        requests: answers, by method, route and status of HTTP.
        request_seconds: from request to answer, by method and route; requests that wait for a job to change do so for
            half a second at most.
        submitted: jobs accepted, by program.
        finished: jobs that ended, by program and status.
        queue_seconds: how long jobs waited, by program.
        job_seconds: how long jobs ran, by program.
        queued: jobs that wait.
        running: jobs that run on this server.
        restarts: worker processes that had to be replaced, by cause.
    """

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "qexec_http_requests", "Answers to HTTP requests.", ["method", "route", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "qexec_http_request_seconds",
            "Seconds from request to answer.",
            ["method", "route"],
            buckets=_REQUEST_SECONDS,
            registry=registry,
        )
        self.submitted = Counter("qexec_jobs_submitted", "Jobs accepted.", ["program"], registry=registry)
        self.finished = Counter("qexec_jobs_finished", "Jobs that ended.", ["program", "status"], registry=registry)
        self.queue_seconds = Histogram(
            "qexec_job_queue_seconds", "Seconds that jobs waited.", ["program"], buckets=_JOB_SECONDS, registry=registry
        )
        self.job_seconds = Histogram(
            "qexec_job_run_seconds", "Seconds that jobs ran.", ["program"], buckets=_JOB_SECONDS, registry=registry
        )
        self.queued = Gauge("qexec_jobs_queued", "Jobs that wait.", registry=registry)
        self.running = Gauge("qexec_jobs_running", "Jobs that run on this server.", registry=registry)
        self.restarts = Counter(
            "qexec_worker_restarts", "Worker processes that had to be replaced.", ["cause"], registry=registry
        )

    def text(self) -> bytes:
        """All of them, in Prometheus's format."""
        return generate_latest(self.registry)
