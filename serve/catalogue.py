"""What the front of the service knows about its models: their cards, and the choice among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from msr_utils.inference.card import PREFERRED, ModelCard
from serve.config import ConfigError, ServiceConfig
from serve.request_errors import RequestError, shortened


@dataclass(frozen=True)
class Catalogue:
    """All models of the service.

    Parameters
    ----------
    cards : mapping of str to ModelCard
        At least one.
    default : str
        Name of the model that answers when a request names none.
    left_out : mapping of str to str
        Models that could not be loaded, and why.
    """

    cards: Mapping[str, ModelCard]
    default: str
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        cards: Mapping[str, ModelCard],
        config: ServiceConfig,
        left_out: Mapping[str, str] | None = None,
    ) -> Catalogue:
        """List the models, and choose the default.

        Raises
        ------
        ConfigError
            If there is no model with the name of the default model.
        """
        if config.default_model is None:
            causal = [name for name, card in cards.items() if card.is_causal]
            default = next(name for name in (*PREFERRED, *causal, *cards) if name in cards)
            return cls(cards, default, left_out or {})
        name = config.default_model
        if name not in cards:
            choice = f"choose from: {', '.join(cards)}"
            reason = (left_out or {}).get(
                name, f"there is no model {name!r} in {config.models_dir}"
            )
            raise ConfigError("default_model", f"{reason}; {choice}")
        return cls(cards, name, left_out or {})

    @property
    def names(self) -> list[str]:
        """Names of all models."""
        return [*self.cards]

    @property
    def causal_names(self) -> list[str]:
        """Names of the models that can follow live audio."""
        return [name for name, card in self.cards.items() if card.is_causal]

    def choose(self, name: str | None, status: int = HTTPStatus.BAD_REQUEST) -> ModelCard:
        """Find a model by name, or the default model.

        Raises
        ------
        RequestError
            With this status, if there is no such model.
        """
        card = self.cards.get(self.default if name is None else name)
        if card is None:
            shown = repr(shortened(str(name)))
            # The reason names folders of this machine, so only the log has it.
            missing = (
                f"the model {shown} could not be loaded, the service's log says why"
                if name in self.left_out
                else f"there is no model {shown}"
            )
            raise RequestError(status, "model", f"{missing}; choose from: {', '.join(self.names)}")
        return card

    def choose_causal(self, name: str | None) -> ModelCard:
        """Find a model that can follow live audio.

        Raises
        ------
        RequestError
            If there is no such model, or it needs a whole window of audio at a time.
        """
        card = self.choose(name)
        if not card.is_causal:
            choice = ", ".join(self.causal_names)
            raise RequestError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "model",
                f"{card.name!r} needs a whole window of audio at a time and cannot follow live "
                f"audio; " + (f"choose from: {choice}" if choice else "no model here can"),
            )
        return card
