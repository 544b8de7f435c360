"""The HTTP interface: a router for each group of requests."""
