"""What is done to a trained model: random mask first, its relatives, and the losses of their repair."""
