"""The names that `msr_utils.inference` offers. They load the decoders and the network runtime."""

from msr_utils.audio.source import TimeLimitExceeded as TimeLimitExceeded
from msr_utils.inference.card import CardError as CardError
from msr_utils.inference.card import ModelCard as ModelCard
from msr_utils.inference.errors import BundleError as BundleError
from msr_utils.inference.errors import PretrainedWeightsMissing as PretrainedWeightsMissing
from msr_utils.inference.model import (
    FilePrediction as FilePrediction,
)
from msr_utils.inference.model import (
    Model as Model,
)
from msr_utils.inference.model import (
    Stream as Stream,
)
from msr_utils.inference.model import (
    available as available,
)
from msr_utils.inference.model import (
    load as load,
)
from msr_utils.inference.model import (
    load_default as load_default,
)
from msr_utils.inference.model import (
    usable as usable,
)
from msr_utils.inference.prediction import Prediction as Prediction
from msr_utils.inference.prediction import Smoother as Smoother
