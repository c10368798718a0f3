"""The parts of the preflight: one file for each thing that is looked at; :mod:`distill.structures.check` joins them."""
