"""Ways to compare a prediction with the truth: one family of metrics for each kind of output."""
