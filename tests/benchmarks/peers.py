"""Time other audio libraries on the benchmark's clips: ``peers.py JOB.json RESULT.json``.

It imports nothing of the project, so it also runs with an interpreter that has openSMILE or
Essentia or vibenet and not this package. The job names the packages, the clips (a file, and the same
audio decoded at the study's rate as ``.npy``), the spectrogram's parameters and the repeats.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

Peer = Callable[[str, np.ndarray], object]
"""Takes a clip's path and its samples; what it returns is not looked at."""


def librosa_peers(stft: dict) -> dict[str, Peer]:
    """The pipelines that this project's features stand in for."""
    import librosa

    rate, hop = stft["sample_rate"], stft["hop_length"]
    window = {"sr": rate, "n_fft": stft["n_fft"], "hop_length": hop}
    chroma = {"sr": rate, "n_fft": stft["chroma_n_fft"], "hop_length": stft["chroma_hop_length"]}
    mel = {**window, "n_mels": stft["n_mels"], "fmin": stft["fmin"], "fmax": stft["fmax"]}

    def logmel(samples: np.ndarray) -> np.ndarray:
        return librosa.power_to_db(librosa.feature.melspectrogram(y=samples, **mel))

    return {
        "from file: load, melspectrogram, power_to_db": lambda path, _: logmel(
            librosa.load(path, sr=rate)[0]
        ),
        "melspectrogram, power_to_db": lambda _, samples: logmel(samples),
        "mfcc": lambda _, samples: librosa.feature.mfcc(y=samples, **mel),
        "chroma_stft": lambda _, samples: librosa.feature.chroma_stft(y=samples, **chroma),
        "chroma_stft, tuning=0": lambda _, samples: librosa.feature.chroma_stft(
            y=samples, tuning=0.0, **chroma
        ),
    }


def opensmile_peers(stft: dict) -> dict[str, Peer]:
    """Descriptors every 10 ms of the two sets that emotion recognition uses most."""
    import opensmile

    def descriptors(name: str) -> Peer:
        smile = opensmile.Smile(
            feature_set=name, feature_level="lld", num_workers=1, multiprocessing=False
        )
        return lambda _, samples: smile.process_signal(samples, stft["sample_rate"])

    return {f"{name} descriptors": descriptors(name) for name in ("eGeMAPSv02", "ComParE_2016")}


def essentia_peers(stft: dict) -> dict[str, Peer]:
    """Standard mode, as its Python tutorial has it: a loop over frames."""
    import essentia
    import essentia.standard as es

    essentia.log.infoActive = False
    rate, size = stft["sample_rate"], stft["n_fft"]
    frames = {"frameSize": size, "hopSize": stft["hop_length"]}
    hann = es.Windowing(type="hann", size=size, normalized=False)
    spectrum = es.Spectrum(size=size)
    bands = es.MelBands(
        inputSize=size // 2 + 1, numberBands=stft["n_mels"], sampleRate=rate,
        lowFrequencyBound=stft["fmin"], highFrequencyBound=stft["fmax"],
    )  # fmt: skip
    peaks, hpcp = es.SpectralPeaks(sampleRate=rate), es.HPCP(sampleRate=rate)

    def logmel(samples: np.ndarray) -> np.ndarray:
        mel = [bands(spectrum(hann(f))) for f in es.FrameGenerator(samples, **frames)]
        return 10 * np.log10(np.maximum(mel, 1e-10))

    return {
        "from file: MonoLoader, MelBands, log": lambda path, _: logmel(
            es.MonoLoader(filename=path, sampleRate=rate)()
        ),
        "MelBands, log": lambda _, samples: logmel(samples),
        "SpectralPeaks, HPCP": lambda _, samples: [
            hpcp(*peaks(spectrum(hann(f)))) for f in es.FrameGenerator(samples, **frames)
        ],
    }


def vibenet_peers(stft: dict) -> dict[str, Peer]:
    """One valence and one energy of a whole file, from the network that the package brings."""
    import vibenet

    model = vibenet.load_model()
    return {"from file: load_model().predict": lambda path, _: model.predict(path)}


PEERS = {
    "librosa": librosa_peers,
    "opensmile": opensmile_peers,
    "essentia": essentia_peers,
    "vibenet": vibenet_peers,
}


def measure(package: str, job: dict) -> list[dict]:
    """Seconds of each of a package's pipelines, as (clips, repeats); first calls do not count."""
    try:
        peers = PEERS[package](job["stft"])
    except ImportError:
        return [{"package": package, "note": "not installed"}]
    clips = [(clip["path"], np.load(clip["samples"])) for clip in job["clips"]]
    rows = []
    for name, peer in peers.items():
        peer(*clips[0])
        seconds = np.empty((len(clips), job["repeats"]))
        for i, clip in enumerate(clips):
            for k in range(job["repeats"]):
                start = time.perf_counter()
                peer(*clip)
                seconds[i, k] = time.perf_counter() - start
        rows.append(
            {
                "package": package,
                "version": version(package),
                "name": name,
                "seconds": seconds.tolist(),
            }
        )
    return rows


if __name__ == "__main__":
    the_job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    found = [row for package in the_job["packages"] for row in measure(package, the_job)]
    Path(sys.argv[2]).write_text(json.dumps(found), "utf-8")
