"""Students in TorchSim."""
