"""HOW: one file per method; a method's file is its formula."""
