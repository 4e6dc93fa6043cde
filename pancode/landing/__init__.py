"""The code of runs: snapshots, the depot, landings, pull requests."""
