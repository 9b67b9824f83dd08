"""Limits of generated music. The service checks them too, so nothing else is loaded here."""

MAX_SECONDS = 300.0
"""Longest piece."""

SAMPLE_RATE = 44_100
"""Of its sound, in Hz."""

MAX_CURVE_POINTS = 10_000
"""Most points of a wanted course of emotion."""

MAX_SEED = 2**63 - 1
"""Greatest seed. The least is 0."""

TEMPERATURE_RANGE = (0.2, 2.0)
"""Least and greatest temperature. A low one repeats itself, a high one is random."""

MAX_WAIT_S = 2.0
"""Longest time from the start of a note to the start of the next."""

MAX_NOTES_TOGETHER = 8
"""Most notes that start at the same time."""

MAX_NOTES_PER_SECOND = 30
"""Most notes that start within a second."""

MAX_REPEATS = 6
"""Most times that one key is struck in succession, with no other key between."""

PITCH_RANGE = (21, 108)
"""The keys of a piano, MIDI numbers."""
