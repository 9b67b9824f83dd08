"""Where the public corpora come from, and their terms."""

from __future__ import annotations

from dataclasses import dataclass

HUB = "https://huggingface.co"


class DownloadError(ValueError):
    """A download that cannot start, continue or be trusted. The message says what to do.

    Parameters
    ----------
    message : str
    file : str
        Name of the file concerned, where one is.
    field : str
        Parameter of `msr_utils.corpora.download.fetch` concerned, where one is.
    """

    def __init__(self, message: str = "", file: str = "", field: str = "") -> None:
        super().__init__(message)
        self.file = file
        self.field = field


@dataclass(frozen=True)
class Archive:
    """One file to download.

    Parameters
    ----------
    name : str
        Path relative to the corpus' folder; files that end in ``.zip`` are unpacked.
    url : str
    size : int, optional
        Bytes, where known.
    sha256 : str, optional
        Where known.
    """

    name: str
    url: str
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """Origin of a corpus and its terms.

    Parameters
    ----------
    title, home, licence, citation : str
        Shown before anything is downloaded.
    archives : tuple of Archive
    hub : str
        Data set on the Hugging Face hub, which lists its own files; instead of `archives`.
    hashes_from : str
        Origin of the expected sizes and hashes.
    """

    title: str
    home: str
    licence: str
    citation: str
    archives: tuple[Archive, ...] = ()
    hub: str = ""
    hashes_from: str = ""

    def terms(self) -> str:
        """Title, terms, citation and home page, one per line."""
        return (
            f"{self.title}\n  terms: {self.licence}\n  cite:  {self.citation}\n  home:  {self.home}"
        )


_DEAM = "https://cvml.unige.ch/databases/DEAM/"
_EMOTIFY = "http://www2.projects.science.uu.nl/memotion/emotifydata/"
_EMOPIA = "https://zenodo.org/record/5090631"
_POP909 = "https://github.com/music-x-lab/POP909-Dataset"

SOURCES = {
    "deam": Source(
        title="DEAM, the MediaEval Database for Emotional Analysis of Music",
        home=_DEAM,
        licence="audio under each song's Creative Commons licence; annotations for research, "
        "not for commercial use",
        citation="Aljanaki, Yang and Soleymani (2017), PLoS ONE 12(3), "
        "https://doi.org/10.1371/journal.pone.0173392",
        archives=(
            Archive(
                "DEAM_audio.zip",
                _DEAM + "DEAM_audio.zip",
                1_343_203_527,
                "e2814325f573ade8caebc697f0efcfdf7207142b737d72558a416117ca591353",
            ),
            Archive(
                "DEAM_Annotations.zip",
                _DEAM + "DEAM_Annotations.zip",
                4_735_283,
                "809b0feb4ba6196c1eda9b2b7b33b892b11fa71457cfceb0d47e832ed1a5f15f",
            ),
            Archive(
                "metadata.zip",
                _DEAM + "metadata.zip",
                344_760,
                "3d1d5ab42e852803a770f2cfbd685c6b464e1ebe76f26b0e10954597902b90f8",
            ),
        ),
        hashes_from="a public report, not the authors",
    ),
    # The page gives neither sizes nor hashes.
    "emotify": Source(
        title="Emotify, emotions felt with music, from a game",
        home=_EMOTIFY,
        licence="for research; the authors state no formal licence and ask for a citation",
        citation="Aljanaki, Wiering and Veltkamp (2016), Information Processing & Management "
        "52(1), https://doi.org/10.1016/j.ipm.2015.03.004",
        archives=(
            Archive("emotifymusic.zip", _EMOTIFY + "emotifymusic.zip"),
            Archive("data.csv", _EMOTIFY + "data.csv"),
        ),
    ),
    "merp": Source(
        title="MERP, Music Emotion Recognition with Profile information",
        home=HUB + "/datasets/amaai-lab/MERP",
        licence="annotations under CC BY 4.0; audio under each song's Creative Commons licence",
        citation="Koh, Cheuk, Heung, Agres and Herremans (2023), Sensors 23(1), "
        "https://doi.org/10.3390/s23010382",
        hub="amaai-lab/MERP",
        hashes_from="the hub's own list",
    ),
    # Zenodo shows an MD5 only.
    "emopia": Source(
        title="EMOPIA 1.0, clips of pop piano music as notes",
        home=_EMOPIA,
        licence="CC BY-NC-SA 4.0: not for commercial use, share alike",
        citation="Hung, Ching, Doh, Kim, Nam and Yang (2021), ISMIR, "
        "https://doi.org/10.5281/zenodo.5090631",
        archives=(Archive("EMOPIA_1.0.zip", _EMOPIA + "/files/EMOPIA_1.0.zip"),),
    ),
    # GitHub makes the archive when it is asked for: it has no hash of its own.
    "pop909": Source(
        title="POP909, pop songs arranged for piano, as notes",
        home=_POP909,
        licence="MIT",
        citation="Wang, Chen, Jiang, Zhang, Xu, Dai, Bin and Xia (2020), ISMIR, "
        "https://arxiv.org/abs/2008.07142",
        archives=(
            Archive("POP909-Dataset-master.zip", _POP909 + "/archive/refs/heads/master.zip"),
        ),
    ),
}
"""Corpus -> source."""


def find_source(corpus: str) -> Source:
    """The source of a corpus.

    Raises
    ------
    DownloadError
        If there is none of that name.
    """
    if corpus not in SOURCES:
        raise DownloadError(
            f"no corpus {corpus!r} to download; known: {', '.join(SOURCES)}", field="corpus"
        )
    return SOURCES[corpus]
