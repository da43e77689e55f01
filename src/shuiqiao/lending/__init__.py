"""Products, applications and decisions."""
