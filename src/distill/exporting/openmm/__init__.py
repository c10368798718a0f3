"""Students in OpenMM."""
