"""Students in metatomic."""
