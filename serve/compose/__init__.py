"""Music that is composed for a wanted course of valence and arousal."""
