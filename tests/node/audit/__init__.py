"""Tests of node.audit."""
