"""Tests of node.monitor."""
