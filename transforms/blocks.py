"""Blocks of time: the training rows in order, cut into parts that follow each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import FullPassOperation, Input
from featurekit.transforms.buckets import bucket_of, tensorflow_buckets_of
from featurekit.transforms.statistics import Quantiles, Statistic
from featurekit.types import INT64, INTEGER, Type

__all__ = ["Block"]


@dataclass(frozen=True)
class Block(FullPassOperation):
    """Which of equally filled blocks of one time another time falls in.

    Block i begins at the quantile `sorted[floor(n * i / blocks)]` of the n training rows' times.

    Args:
        time: The time that is cut, in microseconds.
        at: The time to place.
        blocks: The number of blocks.

    Returns:
        int64, one per row: the number of blocks after the first that have begun. Null where an
        input is null.
    """

    blocks: int

    inputs = (Input("time", INTEGER), Input("at", INTEGER))

    def output_type(self, types: tuple[Type, ...]) -> Type:
        return INT64

    def statistics(self, types: tuple[Type, ...]) -> tuple[Statistic, ...]:
        return (Quantiles(self.blocks),)

    def polars(
        self, inputs: Sequence[pl.Expr], types: Sequence[Type], fitted: Sequence[Any]
    ) -> pl.Expr:
        time, at = inputs
        return pl.when(time.is_not_null()).then(bucket_of(at, fitted[0].boundaries, INT64))

    def tensorflow(
        self, inputs: Sequence[Any], types: Sequence[Type], fitted: Sequence[Any], resource: Any
    ) -> Any:
        return tensorflow_buckets_of(inputs[1], fitted[0].boundaries, INT64)
