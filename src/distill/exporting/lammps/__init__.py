"""The pair style ``distill`` of LAMMPS: its sources, the file of a student that it reads, and how both are made.

The C++ in this folder needs nothing but LAMMPS' own headers and MPI's. It is built as a plugin against a LAMMPS that is
there, or dropped into LAMMPS' ``src/``.
"""
