"""What the server publishes: backends by name, what each looks like, and what executes it."""

from pennylane_qexec.server.catalogue.catalogue import DRY_RUN, Catalogue, PublishedBackend
from pennylane_qexec.server.catalogue.metadata import IDEAL, BackendMetadata

__all__ = ["DRY_RUN", "IDEAL", "BackendMetadata", "Catalogue", "PublishedBackend"]
