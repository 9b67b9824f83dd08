"""The one feature implementation: training and serving both compute frames here."""
