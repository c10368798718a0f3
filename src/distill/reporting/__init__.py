"""The report of a run: figures, tables, a verdict in plain sentences, and the page that holds them."""
