"""The fit of an atomic cluster expansion: AdamW in batches, then BFGS, on pacemaker's loss."""
