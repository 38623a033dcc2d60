"""`great_circle_distance(...)`: the distance of two places on the globe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import polars as pl

from featurekit.transforms.base import Example, Input, check, number_parameter, tf
from featurekit.transforms.families import FloatFunction
from featurekit.transforms.sql import arithmetic, constant, function, infix, let
from featurekit.types import FLOAT64, NUMBER

__all__ = ["GreatCircleDistance"]

_EARTH_RADIUS = 6371.0088
_RADIANS = math.pi / 180


@dataclass(frozen=True)
class GreatCircleDistance(FloatFunction):
    """Shortest distance of two places along the surface of a sphere.

    Args:
        latitude_1: Latitude of the first place in degrees, north positive.
        longitude_1: Longitude of the first place in degrees, east positive.
        latitude_2: Latitude of the second place in degrees.
        longitude_2: Longitude of the second place in degrees.
        radius: The sphere's radius, which gives the result its unit; by default the mean radius
            of the Earth in kilometres.

    Returns:
        float32 (float64 if any input is float64), one per row, computed in float64 and rounded.
        NaN where a coordinate is not finite. Null where any input is null.

    Note:
        The Earth is no sphere: on its ellipsoid distances differ by up to half a percent. float32
        degrees hold a place to about one metre; near antipodes the result is exact to 0.1 m.

    Source: the haversine formula of R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope
    68(2), 1984; the radius (2a + b) / 3 of H. Moritz, "Geodetic Reference System 1980", 2000.
    """

    radius: float = _EARTH_RADIUS

    inputs = (
        Input("latitude_1", NUMBER),
        Input("longitude_1", NUMBER),
        Input("latitude_2", NUMBER),
        Input("longitude_2", NUMBER),
    )
    examples = (
        Example(
            "great_circle_distance(a, b, c, d)",
            {"a": [0, 0, 90, None], "b": [0, 0, 7, 0], "c": [0, 0, -90, 0], "d": [90, 180, 7, 0]},
            [math.pi / 2 * 6371.0088, math.pi * 6371.0088, math.pi * 6371.0088, None],
        ),
        Example(
            "great_circle_distance(a, b, a, 90, radius=1)",
            {"a": [0.0, 60.0, -45.0], "b": [90.0, -90.0, -90.0]},
            [0.0, math.pi / 3, math.pi / 2],
        ),
    )

    def __post_init__(self) -> None:
        number_parameter("radius", self.radius)
        check(self.radius > 0, f"radius must be greater than 0, got {self.radius!r}")

    def _polars(
        self, latitude_1: pl.Expr, longitude_1: pl.Expr, latitude_2: pl.Expr, longitude_2: pl.Expr
    ) -> pl.Expr:
        half_latitude = ((latitude_2 - latitude_1) * (_RADIANS / 2)).sin()
        half_longitude = ((longitude_2 - longitude_1) * (_RADIANS / 2)).sin()
        cosines = (latitude_1 * _RADIANS).cos() * (latitude_2 * _RADIANS).cos()
        haversine = half_latitude * half_latitude + cosines * half_longitude * half_longitude
        return haversine.clip(0.0, 1.0).sqrt().arcsin() * (2.0 * self.radius)

    def _tensorflow(
        self, latitude_1: Any, longitude_1: Any, latitude_2: Any, longitude_2: Any
    ) -> Any:
        half_latitude = tf.sin((latitude_2 - latitude_1) * (_RADIANS / 2))
        half_longitude = tf.sin((longitude_2 - longitude_1) * (_RADIANS / 2))
        cosines = tf.cos(latitude_1 * _RADIANS) * tf.cos(latitude_2 * _RADIANS)
        haversine = half_latitude * half_latitude + cosines * half_longitude * half_longitude
        haversine = tf.where(haversine < 0.0, tf.zeros_like(haversine), haversine)
        haversine = tf.where(haversine > 1.0, tf.ones_like(haversine), haversine)
        return tf.asin(tf.sqrt(haversine)) * (2.0 * self.radius)

    def _bigquery(
        self, latitude_1: Any, longitude_1: Any, latitude_2: Any, longitude_2: Any
    ) -> Any:
        def half_sine(start: Any, end: Any) -> Any:
            way = arithmetic(end, "-", start, FLOAT64)
            return function("SIN", infix(way, "*", _RADIANS / 2))

        def haversine(half_latitude: Any, half_longitude: Any) -> Any:
            cosines = infix(
                function("COS", infix(latitude_1, "*", _RADIANS)),
                "*",
                function("COS", infix(latitude_2, "*", _RADIANS)),
            )
            other = infix(infix(cosines, "*", half_longitude), "*", half_longitude)
            return infix(infix(half_latitude, "*", half_latitude), "+", other)

        halves = [half_sine(latitude_1, latitude_2), half_sine(longitude_1, longitude_2)]
        within = function("GREATEST", 0.0, function("LEAST", 1.0, let(halves, haversine)))
        angle = function("ASIN", function("SQRT", within))
        return arithmetic(angle, "*", constant(2.0 * self.radius, FLOAT64), FLOAT64)
