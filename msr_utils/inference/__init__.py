"""From a bundle to a curve, with neither tensorflow nor librosa."""
