"""Fitting potentials: reference energies, losses, loaders and the gradient trainer that teachers and students share."""
