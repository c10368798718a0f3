"""The teachers of the table: settings and how each is opened. Nothing here imports torch at its top."""
