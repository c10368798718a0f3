"""Readers of published files: their weights and settings under our names."""
