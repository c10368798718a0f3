"""What needs torch: the networks behind the rows of the table, one a file, and what they share."""
