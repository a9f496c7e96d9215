"""Data sets, their splits and their forget sets."""
