"""Honest comparisons: every answer is checked before it is timed, and ratios are taken within one run."""
