"""From finished runs to a model package with its card."""
