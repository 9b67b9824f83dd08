"""The embedded *synthetic* corpus: music made by code from known valence and arousal arcs.

With it, the whole study runs without a download. It contains no real music and no ratings by
people: the raters are simulated. A score on this corpus shows how well a model recovers the rules
below, **not** how well it recognises emotion in real music.

A small rule-based composer writes chords, bass, melody and light percussion. Its cues follow the
arcs by rules reported in music psychology, all of them in `composition.cues_at`:

- mode: major for positive, minor for negative valence, a mixture in between [1]_ [2]_ [3]_ [4]_;
- tempo and loudness: faster and louder as arousal grows [1]_ [2]_ [3]_ [5]_;
- articulation: staccato when happy or angry, legato when sad or tender [1]_ [3]_ [4]_;
- register: higher for happiness, lower for sadness [1]_ [2]_ [4]_;
- timbre: bright sounds and fast attacks for high activity [1]_ [2]_;
- dissonance: consonant for positive, dissonant for negative valence [1]_ [2]_;
- note density: grows with arousal, which is our own choice.

Properties without meaning for emotion vary as well: key, timbre, recorded level and background
noise. Tracks are grouped by "composer", each with habits of timbre, level, tempo, register and
key. Split by group, otherwise a model can learn these habits. Simulated raters follow the arcs
with a delay of 1 to 3 s [5]_.

References
----------
.. [1] Juslin & Laukka (2004). Expression, perception, and induction of musical emotions: a review
   and a questionnaire study of everyday listening. J. New Music Research 33(3), 217-238.
.. [2] Gabrielsson & Lindström (2010). The role of structure in the musical expression of
   emotions. In Juslin & Sloboda (eds), Handbook of Music and Emotion. Oxford University Press.
.. [3] Livingstone, Muhlberger, Brown & Thompson (2010). Changing musical emotion: a computational
   rule system for modifying score and performance. Computer Music Journal 34(1), 41-65.
.. [4] Eerola, Friberg & Bresin (2013). Emotional expression in music: contribution, linearity,
   and additivity of primary musical cues. Frontiers in Psychology 4:487.
.. [5] Schubert (2004). Modeling perceived emotion with continuous musical features. Music
   Perception 21(4), 561-585.
"""

from msr_utils.corpora.synthetic.config import SyntheticConfig
from msr_utils.corpora.synthetic.render import (
    SyntheticTrack,
    cached_corpus,
    render_corpus,
    render_track,
)

__all__ = [
    "SyntheticConfig",
    "SyntheticTrack",
    "cached_corpus",
    "render_corpus",
    "render_track",
]
