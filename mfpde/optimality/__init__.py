"""How low the energy can fall: optima, and bounds that certify them."""
