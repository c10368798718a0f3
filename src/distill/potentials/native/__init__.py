"""Networks of students in C++ without torch: the headers ``distill_*.h``, and the file of a student that they read.

Two libraries are compiled from them: our own engine on a processor, ``engine.cpp`` here, and LAMMPS' pair style, whose
sources are in ``exporting/lammps``.
"""
