"""Losses: each file is one, its settings and its function."""
