"""Executors of vendors in the cloud: jobs under way, labels, adoption, cancellation and counts, for all of them.

To add a vendor: :class:`RemoteExecutor` says what to write.
"""

from pennylane_qexec.executors.remote.executor import RemoteExecutor
from pennylane_qexec.executors.remote.jobs import RemoteBackend, VendorJob, label_tags
from pennylane_qexec.executors.remote.plans import BatchPlan, CountsProgram, PlannedGroup, TemplateProgram

__all__ = [
    "BatchPlan",
    "CountsProgram",
    "PlannedGroup",
    "RemoteBackend",
    "RemoteExecutor",
    "TemplateProgram",
    "VendorJob",
    "label_tags",
]
