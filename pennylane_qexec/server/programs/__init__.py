"""Programs: what jobs ask for, run in worker processes."""
