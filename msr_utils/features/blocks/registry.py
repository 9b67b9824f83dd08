"""All feature blocks by name."""

from __future__ import annotations

from msr_utils.constants import (
    KEY_WINDOWS_S,
    N_MFCC,
    SD_BANDS,
    TEMPO_BANDS,
)
from msr_utils.features import musicnn_graph
from msr_utils.features.blocks import musicnn
from msr_utils.features.blocks.base import Block
from msr_utils.features.blocks.cepstral import _mfcc, _mfcc_delta, _mfcc_state
from msr_utils.features.blocks.loudness import _loudness, _loudness_state
from msr_utils.features.blocks.rhythm import _onset, _tempo_state, _tempogram
from msr_utils.features.blocks.spectral import (
    CONTRAST_BANDS,
    _contrast,
    _logmel,
    _logmel_sd,
    _patch,
)
from msr_utils.features.blocks.tonal import (
    KEY_MEASURES,
    _chroma,
    _tonal,
    _tonal_state,
)
from msr_utils.features.frame import chroma_context_samples, onset_state

BLOCKS: dict[str, Block] = {
    block.name: block
    for block in (
        Block(
            "logmel",
            lambda config: config.n_mels,
            "dB",
            "level of each mel band, mean over the frame",
            "Slaney (1998), Auditory Toolbox, Interval Technical Report 1998-010",
            _logmel,
        ),
        Block(
            "logmel_sd",
            lambda config: SD_BANDS,
            "dB",
            "standard deviation of the mel bands' levels within the frame, in groups of bands",
            "as logmel",
            _logmel_sd,
        ),
        Block(
            "patch",
            lambda config: config.patch_steps * config.n_mels,
            "dB",
            "the frame's log-mel spectrogram in a few time steps, flattened",
            "as logmel",
            _patch,
        ),
        Block(
            "mfcc",
            lambda config: N_MFCC,
            "dB",
            "mel-frequency cepstral coefficients, mean over the frame",
            "Davis and Mermelstein (1980), IEEE Transactions on Acoustics, Speech, and Signal "
            "Processing 28(4)",
            _mfcc,
        ),
        Block(
            "mfcc_delta",
            lambda config: 2 * N_MFCC,
            "dB/hop, dB/hop²",
            "first and second derivative of the cepstral coefficients, mean size in the frame",
            "Furui (1986), IEEE Transactions on Acoustics, Speech, and Signal Processing 34(1)",
            _mfcc_delta,
            _mfcc_state,
        ),
        Block(
            "chroma",
            lambda config: 12,
            "1",
            "strength of the pitch classes C to B, from magnitudes, mean over the frame",
            "Ellis (2007), https://www.ee.columbia.edu/~dpwe/resources/matlab/chroma-ansyn/",
            _chroma,
            heard=chroma_context_samples,
        ),
        Block(
            "tonal",
            lambda config: len(KEY_WINDOWS_S) * (12 + KEY_MEASURES) + 3,
            "1",
            "chroma from the tonic up, strength of keys, major against minor, Fourier "
            "coefficients of the chroma and stability of the key, over 2, 6 and 20 s",
            "Krumhansl (1990), Cognitive Foundations of Musical Pitch; Amiot (2016), Music "
            "through Fourier Space",
            _tonal,
            _tonal_state,
            chroma_context_samples,
        ),
        Block(
            "contrast",
            lambda config: CONTRAST_BANDS,
            "dB",
            "spectral peaks over valleys in octave bands, mean over the frame",
            "Jiang, Lu, Zhang, Tao and Cai (2002), Music type classification by spectral "
            "contrast feature, ICME",
            _contrast,
            version=2,
        ),
        Block(
            "onset",
            lambda config: 3,
            "dB",
            "onset strength: mean, largest and standard deviation in the frame",
            "Boeck and Widmer (2013), Maximum filter vibrato suppression for onset detection, DAFx",
            _onset,
            onset_state,
        ),
        Block(
            "tempogram",
            lambda config: TEMPO_BANDS + 1,
            "1",
            "autocorrelation of onset strength over 8 s in bands of tempo, 30 to 300 beats per "
            "minute, and how far its peak stands out",
            "Grosche, Mueller and Kurth (2010), Cyclic tempogram: a mid-level tempo "
            "representation for music signals, ICASSP",
            _tempogram,
            _tempo_state,
        ),
        Block(
            "loudness",
            lambda config: 2,
            "LUFS",
            "momentary (400 ms) and short-term (3 s) loudness at the frame's end, mono",
            "ITU-R BS.1770-4 (2015); EBU Tech 3341 (2016)",
            _loudness,
            _loudness_state,
        ),
    )
}
"""Feature blocks by name: all that need nothing but this package."""

PRETRAINED: dict[str, Block] = {
    "ear": Block(
        "ear",
        lambda config: musicnn_graph.EMBEDDING_DIM,
        "1",
        f"what {musicnn_graph.MUSICNN_NAME}, a network taught to tag music, hears in the last 3 s",
        "Pons and Serra (2019), musicnn: Pre-trained convolutional neural networks for music "
        "audio tagging, arXiv:1909.06654",
        musicnn.embed,
        lambda config: musicnn.initial_state(),
        lambda config: musicnn.CONTEXT_SAMPLES,
        weights=f"{musicnn_graph.MUSICNN_NAME} {musicnn_graph.MUSICNN_SHA256}",
    )
}
"""Blocks that run a network whose weights are fetched first; see `msr_utils.features.weights`."""

ALL_BLOCKS = BLOCKS | PRETRAINED
"""What a configuration may name."""
