"""Stages: one thin command per rule. It reads files, calls the science and writes files atomically."""
