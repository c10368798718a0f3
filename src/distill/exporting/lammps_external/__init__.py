"""Any student in LAMMPS, through Python and its fix external."""
