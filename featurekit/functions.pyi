# Written by `python -m featurekit.spec.signatures`; edit the operations instead.
# ruff: noqa: A001, D403, E501
from collections.abc import Sequence

from featurekit.spec.expression import Expression, ExpressionLike

__all__ = [
    "abs",
    "add",
    "all",
    "any",
    "apply_buckets",
    "approx_count_distinct",
    "bucketize",
    "cast",
    "ceil",
    "clip",
    "coalesce",
    "concat",
    "contains",
    "count",
    "count_distinct",
    "count_encode",
    "cross",
    "cyclic_cosine",
    "cyclic_sine",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "divide",
    "equal",
    "exp",
    "fill",
    "first",
    "first_k",
    "floor",
    "floor_divide",
    "great_circle_distance",
    "greater",
    "greater_equal",
    "hash_bucket",
    "hour",
    "impute",
    "is_finite",
    "is_missing",
    "is_weekend",
    "kurtosis",
    "last",
    "last_k",
    "length",
    "less",
    "less_equal",
    "log",
    "log1p",
    "logical_and",
    "logical_not",
    "logical_or",
    "lower",
    "make_timestamp",
    "max",
    "max_abs_scale",
    "maximum",
    "mean",
    "median",
    "min",
    "minimum",
    "minute",
    "modulo",
    "month",
    "most_frequent",
    "multiply",
    "negate",
    "not_equal",
    "one_hot",
    "one_hot_vocabulary",
    "power",
    "quantile",
    "quarter",
    "regex_replace",
    "robust_scale",
    "round",
    "scale_by_min_max",
    "scale_to_0_1",
    "seconds_between",
    "sign",
    "skewness",
    "split_part",
    "sqrt",
    "stddev",
    "strip",
    "subtract",
    "sum",
    "target_mean",
    "time_since_first",
    "time_since_last",
    "top_k",
    "upper",
    "variance",
    "vocabulary",
    "week",
    "where",
    "year",
    "zscore",
]

def abs(x: ExpressionLike) -> Expression:
    """Absolute value of a number or a duration."""

def add(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Sum of two numbers; a timestamp plus a duration is a timestamp."""

def all(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Whether every value of the window is true."""

def any(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Whether at least one value of the window is true."""

def apply_buckets(x: ExpressionLike, boundaries: Sequence[float]) -> Expression:
    """Bucket of a number: how many of the boundaries are at or below it."""

def approx_count_distinct(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Number of different values in the window, where an estimate would do."""

def bucketize(x: ExpressionLike, buckets: int) -> Expression:
    """Number of the quantile bucket: about equally many training rows fall in each."""

def cast(x: ExpressionLike, to: str) -> Expression:
    """x as another type."""

def ceil(x: ExpressionLike) -> Expression:
    """x rounded up to a whole number."""

def clip(x: ExpressionLike, low: float | None = None, high: float | None = None) -> Expression:
    """x held between two bounds."""

def coalesce(*x: ExpressionLike) -> Expression:
    """The first value of a row that is not null."""

def concat(*x: ExpressionLike, separator: str = "") -> Expression:
    """Strings joined in the order given."""

def contains(x: ExpressionLike, pattern: str, literal: bool = True) -> Expression:
    """Whether a string has a text, or a match of a regular expression, somewhere in it."""

def count(x: ExpressionLike | None = None, where: ExpressionLike | None = None) -> Expression:
    """Number of rows in the window, or of those in which x is not null."""

def count_distinct(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Number of different values in the window."""

def count_encode(
    x: ExpressionLike, normalize: bool = False, frequency_threshold: int = 0
) -> Expression:
    """Number of training rows with the same value, or their share."""

def cross(*x: ExpressionLike, buckets: int) -> Expression:
    """Bucket of a combination of keys: the FarmHash64 of the keys joined by "_X_", modulo n."""

def cyclic_cosine(x: ExpressionLike, period: float) -> Expression:
    """Cosine of x as an angle: `cos(2 * pi * x / period)`."""

def cyclic_sine(x: ExpressionLike, period: float) -> Expression:
    """Sine of x as an angle: `sin(2 * pi * x / period)`."""

def day_of_month(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Day of the month."""

def day_of_week(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Day of the week."""

def day_of_year(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Day of the year."""

def divide(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Quotient of two numbers, always a float."""

def equal(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether two values are equal."""

def exp(x: ExpressionLike) -> Expression:
    """e to the power of x."""

def fill(x: ExpressionLike, value: bool | int | float | str) -> Expression:
    """x with a constant in place of null."""

def first(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Earliest value of the window."""

def first_k(x: ExpressionLike, k: int, where: ExpressionLike | None = None) -> Expression:
    """Earliest k values of the window."""

def floor(x: ExpressionLike) -> Expression:
    """x rounded down to a whole number."""

def floor_divide(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Quotient of two numbers, rounded down to a whole number, as Python's `//`."""

def great_circle_distance(
    latitude_1: ExpressionLike,
    longitude_1: ExpressionLike,
    latitude_2: ExpressionLike,
    longitude_2: ExpressionLike,
    radius: float = 6371.0088,
) -> Expression:
    """Shortest distance of two places along the surface of a sphere."""

def greater(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether x is greater than y."""

def greater_equal(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether x is greater than or equal to y."""

def hash_bucket(x: ExpressionLike, buckets: int) -> Expression:
    """Bucket of a key: its FarmHash64, unsigned, modulo the number of buckets."""

def hour(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Hour of the day."""

def impute(
    x: ExpressionLike,
    strategy: str = "mean",
    value: float | str | bool | None = None,
    indicator: bool = False,
) -> Expression:
    """Missing values replaced by the training mean, median or most frequent value, or a constant."""

def is_finite(x: ExpressionLike) -> Expression:
    """Whether a number is neither infinite nor NaN."""

def is_missing(x: ExpressionLike) -> Expression:
    """Whether a value is null."""

def is_weekend(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Whether the day is a Saturday or a Sunday."""

def kurtosis(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Population excess kurtosis of a number over the window."""

def last(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Latest value of the window."""

def last_k(x: ExpressionLike, k: int, where: ExpressionLike | None = None) -> Expression:
    """Latest k values of the window."""

def length(x: ExpressionLike) -> Expression:
    """Number of characters of a string, that is of Unicode code points (not of bytes)."""

def less(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether x is less than y."""

def less_equal(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether x is less than or equal to y."""

def log(x: ExpressionLike) -> Expression:
    """Natural logarithm of x."""

def log1p(x: ExpressionLike) -> Expression:
    """Natural logarithm of 1 + x."""

def logical_and(*x: ExpressionLike) -> Expression:
    """Whether all of several conditions hold."""

def logical_not(x: ExpressionLike) -> Expression:
    """Whether a condition does not hold."""

def logical_or(*x: ExpressionLike) -> Expression:
    """Whether any of several conditions holds."""

def lower(x: ExpressionLike) -> Expression:
    """Lower case of a string, letter by letter, whatever the language or the machine."""

def make_timestamp(
    year: ExpressionLike,
    month: ExpressionLike,
    day: ExpressionLike,
    hour: ExpressionLike,
    minute: ExpressionLike,
    zone: str = "UTC",
    ambiguous: str = "earliest",
) -> Expression:
    """Timestamp of a date and a time of day, as calendars and clocks of a zone show them."""

def max(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Greatest value over the window."""

def max_abs_scale(x: ExpressionLike) -> Expression:
    """Division by the largest absolute value of the training rows; zero stays zero."""

def maximum(*x: ExpressionLike) -> Expression:
    """The greatest of several values of a row."""

def mean(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Arithmetic mean of a number over the window, or the share of values that are true."""

def median(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Median of a number over the window."""

def min(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Least value over the window."""

def minimum(*x: ExpressionLike) -> Expression:
    """The smallest of several values of a row."""

def minute(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Minute of the hour."""

def modulo(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Remainder of x divided by y, between 0 and y and of y's sign, as Python's `%`."""

def month(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Month of the year."""

def most_frequent(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Value that occurs most often in the window."""

def multiply(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Product of two numbers; an integer times a duration is a duration."""

def negate(x: ExpressionLike) -> Expression:
    """A number or a duration with the other sign."""

def not_equal(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Whether two values differ."""

def one_hot(x: ExpressionLike, depth: int) -> Expression:
    """Vector of zeros with 1 at the place that an index names."""

def one_hot_vocabulary(
    x: ExpressionLike,
    top_k: int | None = None,
    frequency_threshold: int = 0,
    oov_buckets: int = 0,
    file_format: str = "text",
) -> Expression:
    """One-hot vector of the index that `vocabulary` gives, the most frequent word first."""

def power(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """x to the power of y, always a float."""

def quantile(x: ExpressionLike, q: float, where: ExpressionLike | None = None) -> Expression:
    """Quantile of a number over the window."""

def quarter(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Quarter of the year."""

def regex_replace(x: ExpressionLike, pattern: str, replacement: str) -> Expression:
    """String with every match of a regular expression replaced, from left to right."""

def robust_scale(x: ExpressionLike) -> Expression:
    """Distance from the training median in training interquartile ranges."""

def round(x: ExpressionLike, digits: int = 0) -> Expression:
    """x rounded to so many decimal places, halves to the even digit."""

def scale_by_min_max(
    x: ExpressionLike, output_min: float = 0.0, output_max: float = 1.0
) -> Expression:
    """The range from the training minimum to the training maximum, mapped onto a given range."""

def scale_to_0_1(x: ExpressionLike) -> Expression:
    """The range from the training minimum to the training maximum, mapped onto 0 to 1."""

def seconds_between(start: ExpressionLike, end: ExpressionLike) -> Expression:
    """Seconds from a start to an end, negative when the end is before the start."""

def sign(x: ExpressionLike) -> Expression:
    """-1 for a negative number, 1 for a positive one, 0 for 0."""

def skewness(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Population skewness of a number over the window."""

def split_part(x: ExpressionLike, separator: str, index: int) -> Expression:
    """The part of a string at a place, once it is split at every separator."""

def sqrt(x: ExpressionLike) -> Expression:
    """Square root of x."""

def stddev(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Population standard deviation of a number over the window."""

def strip(x: ExpressionLike, characters: str | None = None) -> Expression:
    """String without the given characters at its start and end."""

def subtract(x: ExpressionLike, y: ExpressionLike) -> Expression:
    """Difference of two numbers, two times, or a time and a duration."""

def sum(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Sum of a number or a duration over the window."""

def target_mean(
    x: ExpressionLike,
    smoothing: float = 20.0,
    folds: int = 5,
    by: str | Sequence[str] | None = None,
    positive: bool | int | str | None = None,
) -> Expression:
    """Mean of the label over the training rows of the same category, smoothed, cross-fitted."""

def time_since_first(
    x: ExpressionLike | None = None, where: ExpressionLike | None = None
) -> Expression:
    """Time between the earliest row of the window and the prediction."""

def time_since_last(
    x: ExpressionLike | None = None, where: ExpressionLike | None = None
) -> Expression:
    """Time between the latest row of the window and the prediction."""

def top_k(x: ExpressionLike, k: int, where: ExpressionLike | None = None) -> Expression:
    """Greatest k values of the window."""

def upper(x: ExpressionLike) -> Expression:
    """Upper case of a string, letter by letter, whatever the language or the machine."""

def variance(x: ExpressionLike, where: ExpressionLike | None = None) -> Expression:
    """Population variance of a number over the window."""

def vocabulary(
    x: ExpressionLike,
    top_k: int | None = None,
    frequency_threshold: int = 0,
    oov_buckets: int = 0,
    default: int = -1,
    file_format: str = "text",
) -> Expression:
    """Index of a word in the vocabulary of the training rows, the most frequent word first."""

def week(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Week of the year, where week 1 has the first Thursday and Monday is the first day."""

def where(condition: ExpressionLike, x: ExpressionLike, y: ExpressionLike) -> Expression:
    """x where the condition holds, y where it does not."""

def year(t: ExpressionLike, zone: str = "UTC") -> Expression:
    """Year of the Gregorian calendar."""

def zscore(x: ExpressionLike) -> Expression:
    """Distance from the training mean in training standard deviations."""
