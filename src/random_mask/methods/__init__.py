"""What is done to a trained model: random mask first, its relatives, and the losses of their repair.

A file is a perturbation: its settings, what it does to the weights, what that costs and how tables call it;
`losses/` has the losses likewise. A new file adds one, and touches no other.
"""
