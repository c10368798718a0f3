"""Pure functions of physics and statistics: arrays in, numbers out, one quantity a file."""
