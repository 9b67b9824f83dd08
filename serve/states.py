"""Live audio as clients send it: formats of its samples, and the signed states between chunks."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from http import HTTPStatus
from typing import Any

import numpy as np
from itsdangerous import BadSignature, TimestampSigner

from serve.request_errors import RequestError

SAMPLE_FORMATS: dict[str, np.dtype[Any]] = {"s16le": np.dtype("<i2"), "f32le": np.dtype("<f4")}
"""Sample formats of a chunk, by their names in ffmpeg."""

INT16_SCALE = 32768
"""Full scale of 16-bit samples."""

RATES_HZ = (4_000, 192_000)
"""Lowest and highest sample rate of a chunk."""

MAX_CHANNELS = 8

_STATE = re.compile(r"live1\.(\d{1,9})\.(.*)", re.DOTALL)
"""Version, length of what follows, and the signed content."""


class StateError(RequestError):
    """A state that cannot be continued; the message says why.

    Parameters
    ----------
    message : str
    """

    def __init__(self, message: str) -> None:
        super().__init__(HTTPStatus.UNPROCESSABLE_ENTITY, "state", message)


class StateSigner:
    """Sign states with HMAC-SHA-256 and the time of signing, and verify them.

    Parameters
    ----------
    key : str
        Secret. Processes with the same key can resume each other's states.
    max_age_s : float > 0
        Greatest age of a state that is accepted.
    """

    def __init__(self, key: str, max_age_s: float) -> None:
        self._signer = TimestampSigner(
            key, salt="msr.live", key_derivation="hmac", digest_method=hashlib.sha256
        )
        self._max_age_s = max_age_s

    def sign(self, content: bytes) -> str:
        """Make a state of its content."""
        signed = self._signer.sign(base64.urlsafe_b64encode(content)).decode()
        return f"live1.{len(signed)}.{signed}"

    def verify(self, state: str) -> bytes:
        """Verify a state and return its content.

        Raises
        ------
        StateError
            If the text is not a state, was cut short or altered, was signed with another key, or
            is too old.
        """
        match = _STATE.fullmatch(state.strip())
        if match is None:
            raise StateError("not made by this service; send the state of the previous answer")
        length, signed = int(match[1]), match[2]
        if len(signed) < length:
            raise StateError(
                f"cut short: {len(signed)} of {length} characters arrived; send all of it"
            )
        try:
            content, signed_at = self._signer.unsign(signed, return_timestamp=True)
        except BadSignature:
            raise StateError(
                "altered, or signed with another key (MSR_SECRET_KEY); start again"
            ) from None
        # The signer's own check of age would refuse a state from a machine whose clock is ahead.
        age_s = time.time() - signed_at.timestamp()
        if age_s > self._max_age_s:
            raise StateError(f"{age_s:.0f} s old, the limit is {self._max_age_s:g} s; start again")
        return base64.urlsafe_b64decode(content)
