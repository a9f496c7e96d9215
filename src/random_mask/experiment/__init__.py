"""What a configuration says: its schema, its search, and the cost of its work."""
