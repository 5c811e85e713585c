"""A node under mixed load for a long time: `pytest tests/soak --soak [MINUTES]`."""
