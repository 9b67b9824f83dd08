"""Music as notes: statistics, tokens and altered copies."""
