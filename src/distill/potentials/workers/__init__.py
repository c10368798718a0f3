"""Processes in other interpreters: the protocol, the side that starts them, and the scripts that run there."""
