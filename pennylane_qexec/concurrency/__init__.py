"""Futures, threads, files and signals, and what PennyLane keeps once for the whole process."""
