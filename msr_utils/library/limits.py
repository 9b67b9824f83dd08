"""Limits of scenes and films. The service checks them too, so nothing else is loaded here."""

MAX_SCENE_SECONDS = 3600
"""Longest scene, and longest arc that is searched for. Each half second of it takes memory."""

MAX_FILM_SECONDS = 100_000
"""Latest end of a scene in a film."""

FPS_RANGE = (1, 99)
"""Least and greatest number of frames per second; timecode has two digits for frames."""
