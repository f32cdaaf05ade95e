"""Capture, replay, evaluation and promotion; none of them knows torch."""
