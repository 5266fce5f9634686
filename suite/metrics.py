"""What kind of score a metric is; by itself, for reports ask it without waiting for torch."""

ERRORS = frozenset({"mse", "mae"})  # 0 is best; of all others it is 1
