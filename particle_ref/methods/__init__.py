"""How clouds move: one method per file."""
