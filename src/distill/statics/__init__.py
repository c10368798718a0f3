"""Static physics of one model: what it says of crystals, pairs of atoms, defects and paths, without dynamics."""
