"""How many networks are fitted at once: the network, the loop, stacks, fleets, devices."""
