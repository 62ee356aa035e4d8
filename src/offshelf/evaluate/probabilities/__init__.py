"""How good probabilities are: calibration error, log loss, rejection."""
