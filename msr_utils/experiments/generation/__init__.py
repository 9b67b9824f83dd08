"""Music that is generated to feel a given way, and judges that can say that it does not.

Half of the labelled songs train a generator, the other half trains its judges. How notes are drawn
is chosen with a judge of the generator's own half, which is not reported.
"""

from msr_utils.experiments.generation.chapter import (
    GeneratorStudy,
    Settings,
    best_network,
    study,
)
from msr_utils.experiments.generation.evaluation import TARGETS, Size, evaluate
from msr_utils.experiments.generation.material import divide
from msr_utils.experiments.generation.tables import (
    accuracy_table,
    confusion_table,
    examples,
    material_table,
    music_table,
    release,
    target_table,
    training_table,
    trial_table,
)

__all__ = [
    "TARGETS",
    "GeneratorStudy",
    "Settings",
    "Size",
    "accuracy_table",
    "best_network",
    "confusion_table",
    "examples",
    "divide",
    "evaluate",
    "material_table",
    "music_table",
    "release",
    "study",
    "target_table",
    "training_table",
    "trial_table",
]
