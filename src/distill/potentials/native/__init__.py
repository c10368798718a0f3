"""Networks of students in C++ without torch: the headers ``distill_*.h``, and the file of a student that they read.

LAMMPS' pair style, whose own sources are in ``exporting/lammps``, is compiled from them.
"""
