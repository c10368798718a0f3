"""Students in ASE."""
