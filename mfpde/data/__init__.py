"""Data sets that come with the package; their sources are in SOURCE.md."""
