"""How much one caller may ask for, and who has asked for how much."""
