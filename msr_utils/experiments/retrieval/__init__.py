"""Does the music library find what it should? Search by mood, arcs, playlists and preferences."""
