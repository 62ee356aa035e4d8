"""Measuring: figures from targets and predictions. Computing only: report prints."""
