"""Tests of node.conditions."""
