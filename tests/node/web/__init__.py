"""Tests of node.web."""
