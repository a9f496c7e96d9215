"""Methods that are a person's own function, in a file of theirs, rather than perturbations and losses."""
