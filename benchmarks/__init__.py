"""Measure how far suggestions can be trusted, on training runs whose best rates are known."""
