"""Measures of unlearning, computed from stored logits."""
