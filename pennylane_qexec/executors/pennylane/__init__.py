"""Executors over PennyLane devices."""
