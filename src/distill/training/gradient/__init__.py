"""The gradient trainer that teachers and students share: loss, batches, optimiser, checkpoints, processes."""
