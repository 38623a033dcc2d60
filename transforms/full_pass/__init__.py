"""Full-pass operations: each needs statistics of its input over the training rows."""
