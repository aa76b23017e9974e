"""THE LOOP: solve, its guards, its records and its store."""
