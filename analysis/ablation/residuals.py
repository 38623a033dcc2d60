"""What the full model leaves unexplained of every row, predicted while the row was held out."""

from __future__ import annotations

import numpy as np

from featurekit.analysis.ablation.blocks import blocks
from featurekit.analysis.ablation.losses import Loss, logistic
from featurekit.analysis.ablation.surrogate import Surrogate

__all__ = ["held_out_residuals"]


def held_out_residuals(surrogate: Surrogate) -> np.ndarray:
    """Return the label less its held-out prediction; takes a pass over the rows.

    Args:
        surrogate: The models.

    Returns:
        Float64 of shape [rows]: for a binary label, 1 or 0 less the probability of 1. For several
        classes of shape [rows, classes]: each indicator less its prediction, which add up to 0. NaN
        where a row was never held out.
    """
    rows = surrogate.rows
    slopes = {
        fold: model.scaling.raw_coefficients(model.coefficients)
        for fold, model in surrogate.models.items()
    }
    out = np.full((len(rows.folds), rows.labels), np.nan)
    for block in blocks(rows, surrogate.design):
        if block.fold not in slopes:
            continue
        model, slope = surrogate.models[block.fold], slopes[block.fold]
        predicted = block.columns @ slope + (model.label - model.center @ slope)
        if surrogate.loss is Loss.LOG:
            predicted = logistic(predicted)
        out[block.places] = block.label - predicted
    return out if rows.classes else out[:, 0]
