"""Quadrants of the valence-arousal plane, with their words."""

QUADRANTS = {
    (True, True): ("Q1", "happy, excited"),
    (False, True): ("Q2", "tense, angry"),
    (False, False): ("Q3", "sad, gloomy"),
    (True, False): ("Q4", "calm, content"),
}
