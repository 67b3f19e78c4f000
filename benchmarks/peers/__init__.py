"""Ours and others': what a recorded call costs, and what it costs to have spans stored and readable.

    make bench-peers

Each program here is run with the Python of one venv, from the folder benchmarks/, and prints one line of JSON:
`../.venv-peers/logfire/bin/python -m peers.calls.logfire`. `peers.run` runs them all and keeps what they print.
"""
