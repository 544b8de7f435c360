"""Providers: which backends there are, here and elsewhere, by provider and name."""

from pennylane_qexec.providers.backend import Backend, Kind, Provider
from pennylane_qexec.providers.virtual import LOCAL, VirtualProvider

__all__ = ["LOCAL", "Backend", "Kind", "Provider", "VirtualProvider"]
