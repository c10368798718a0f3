"""The students of the table: settings and how each is built. Nothing here imports torch at its top."""
