"""Molecular dynamics with potentials: how long a step takes."""
