"""Predictions to disk: whole positions, resumable, alone or on a cluster."""
