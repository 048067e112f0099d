"""How far a suggested learning rate can be trusted, measured on trainings whose best is known."""
