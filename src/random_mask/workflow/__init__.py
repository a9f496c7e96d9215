"""What the rules of the workflow ask: paths, resources, code inputs, progress, estimates."""
