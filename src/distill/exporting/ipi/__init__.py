"""Students in i-PI."""
