"""Other interpreters: scripts that run there, the protocol, the side that starts them, and potentials that ask them."""
