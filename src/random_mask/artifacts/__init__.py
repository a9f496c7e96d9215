"""What is kept in files: arrays, weights, shards of fleets, and the records of where they come from."""
