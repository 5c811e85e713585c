"""Tests of the pure parts of the commands in benchmarks/."""
