"""Row operations: each sees one row."""

from featurekit.transforms.row.abs import Abs
from featurekit.transforms.row.add import Add
from featurekit.transforms.row.apply_buckets import ApplyBuckets
from featurekit.transforms.row.cast import Cast
from featurekit.transforms.row.ceil import Ceil
from featurekit.transforms.row.clip import Clip
from featurekit.transforms.row.coalesce import Coalesce
from featurekit.transforms.row.concat import Concat
from featurekit.transforms.row.contains import Contains
from featurekit.transforms.row.cross import Cross
from featurekit.transforms.row.cyclic_cosine import CyclicCosine
from featurekit.transforms.row.cyclic_sine import CyclicSine
from featurekit.transforms.row.day_of_month import DayOfMonth
from featurekit.transforms.row.day_of_week import DayOfWeek
from featurekit.transforms.row.day_of_year import DayOfYear
from featurekit.transforms.row.divide import Divide
from featurekit.transforms.row.equal import Equal
from featurekit.transforms.row.exp import Exp
from featurekit.transforms.row.fill import Fill
from featurekit.transforms.row.floor import Floor
from featurekit.transforms.row.floor_divide import FloorDivide
from featurekit.transforms.row.great_circle_distance import GreatCircleDistance
from featurekit.transforms.row.greater import Greater
from featurekit.transforms.row.greater_equal import GreaterEqual
from featurekit.transforms.row.hash_bucket import HashBucket
from featurekit.transforms.row.hour import Hour
from featurekit.transforms.row.is_finite import IsFinite
from featurekit.transforms.row.is_missing import IsMissing
from featurekit.transforms.row.is_weekend import IsWeekend
from featurekit.transforms.row.length import Length
from featurekit.transforms.row.less import Less
from featurekit.transforms.row.less_equal import LessEqual
from featurekit.transforms.row.log import Log
from featurekit.transforms.row.log1p import Log1p
from featurekit.transforms.row.logical_and import LogicalAnd
from featurekit.transforms.row.logical_not import LogicalNot
from featurekit.transforms.row.logical_or import LogicalOr
from featurekit.transforms.row.lower import Lower
from featurekit.transforms.row.make_timestamp import MakeTimestamp
from featurekit.transforms.row.maximum import Maximum
from featurekit.transforms.row.minimum import Minimum
from featurekit.transforms.row.minute import Minute
from featurekit.transforms.row.modulo import Modulo
from featurekit.transforms.row.month import Month
from featurekit.transforms.row.multiply import Multiply
from featurekit.transforms.row.negate import Negate
from featurekit.transforms.row.not_equal import NotEqual
from featurekit.transforms.row.one_hot import OneHot
from featurekit.transforms.row.power import Power
from featurekit.transforms.row.quarter import Quarter
from featurekit.transforms.row.regex_replace import RegexReplace
from featurekit.transforms.row.round import Round
from featurekit.transforms.row.seconds_between import SecondsBetween
from featurekit.transforms.row.sign import Sign
from featurekit.transforms.row.split_part import SplitPart
from featurekit.transforms.row.sqrt import Sqrt
from featurekit.transforms.row.strip import Strip
from featurekit.transforms.row.subtract import Subtract
from featurekit.transforms.row.upper import Upper
from featurekit.transforms.row.week import Week
from featurekit.transforms.row.where import Where
from featurekit.transforms.row.year import Year

__all__ = [
    "Abs",
    "Add",
    "ApplyBuckets",
    "Cast",
    "Ceil",
    "Clip",
    "Coalesce",
    "Concat",
    "Contains",
    "Cross",
    "CyclicCosine",
    "CyclicSine",
    "DayOfMonth",
    "DayOfWeek",
    "DayOfYear",
    "Divide",
    "Equal",
    "Exp",
    "Fill",
    "Floor",
    "FloorDivide",
    "GreatCircleDistance",
    "Greater",
    "GreaterEqual",
    "HashBucket",
    "Hour",
    "IsFinite",
    "IsMissing",
    "IsWeekend",
    "Length",
    "Less",
    "LessEqual",
    "Log",
    "Log1p",
    "LogicalAnd",
    "LogicalNot",
    "LogicalOr",
    "Lower",
    "MakeTimestamp",
    "Maximum",
    "Minimum",
    "Minute",
    "Modulo",
    "Month",
    "Multiply",
    "Negate",
    "NotEqual",
    "OneHot",
    "Power",
    "Quarter",
    "RegexReplace",
    "Round",
    "SecondsBetween",
    "Sign",
    "SplitPart",
    "Sqrt",
    "Strip",
    "Subtract",
    "Upper",
    "Week",
    "Where",
    "Year",
]
