"""Worker processes of a server: what runs in them, what drives one from outside, and how many there are of which.

Worker processes import :mod:`~pennylane_qexec.server.workers.worker` alone: here is nothing for them to wait for.
"""
