"""Where the error of predicted curves lies: in which component, which music, which part of a piece.

Notebooks use the names below as ``error_analysis.NAME``.
"""

from msr_utils.experiments.error_analysis.analysis import ErrorAnalysis, analyse
from msr_utils.experiments.error_analysis.pieces import rank_by_rmse
from msr_utils.experiments.error_analysis.strata import describe_pieces
from msr_utils.experiments.error_analysis.tables import (
    decomposition_table,
    oracle_corrections_table,
    within_pieces_table,
    worst_pieces_table,
)

__all__ = [
    "ErrorAnalysis",
    "analyse",
    "decomposition_table",
    "describe_pieces",
    "oracle_corrections_table",
    "rank_by_rmse",
    "within_pieces_table",
    "worst_pieces_table",
]
