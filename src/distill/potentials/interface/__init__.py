"""The one interface of all potentials: what predicts, what it is asked with, how it is evaluated, saved and checked."""
