"""Accuracy, intervals, baselines and gates of trained networks."""
