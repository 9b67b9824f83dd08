"""Feature blocks, one file a family."""
