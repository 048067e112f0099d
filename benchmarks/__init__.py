"""Measure how far suggestions can be trusted, on trainings whose best learning rates are known."""
