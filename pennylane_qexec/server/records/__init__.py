"""The records of servers: jobs, sessions, usage and tokens, in a store's database."""

from pennylane_qexec.server.records.records import LEASE, Records, open_records
from pennylane_qexec.server.records.types import (
    JobFilter,
    JobStatus,
    NewServerJob,
    NewServerSession,
    QueueFullError,
    ServerJob,
    ServerSession,
    ServerToken,
    SessionMode,
    SessionRefusedError,
    SessionState,
    User,
)

__all__ = [
    "LEASE",
    "JobFilter",
    "JobStatus",
    "NewServerJob",
    "NewServerSession",
    "QueueFullError",
    "Records",
    "ServerJob",
    "ServerSession",
    "ServerToken",
    "SessionMode",
    "SessionRefusedError",
    "SessionState",
    "User",
    "open_records",
]
