"""Measurements: mlbuild beside a peer, in one run, on one machine. `python -m bench`."""
