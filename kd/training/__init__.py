"""Losses, optimisers, the training loop and checkpoints."""
