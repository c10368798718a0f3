"""The pair style ``distill`` of LAMMPS: its sources, how it is built and run, and the certificate of what it computes.

The networks are in ``potentials/native``. All C++ needs nothing but LAMMPS' own headers and MPI's: it is built as a
plugin against a LAMMPS that is there, or dropped into LAMMPS' ``src/``.
"""
