"""What operations are called elsewhere: in SQL, pandas, scikit-learn, Spark and tf.Transform."""

from __future__ import annotations

__all__ = ["IDIOMS", "SYNONYMS", "called_here", "said_here"]

SYNONYMS = {
    "all": "bool_and every",
    "any": "bool_or some",
    "apply_buckets": "cut discretize",
    "approx_count_distinct": "approx_n_unique approx_distinct",
    "bucketize": "qcut ntile quantile_cut k_bins_discretizer quantile_discretizer",
    "cast": "safe_cast as_type to_int to_float to_string",
    "ceil": "ceiling",
    "clip": "clamp winsorize clip_by_value",
    "coalesce": "nvl",
    "concat": "concatenate",
    "contains": "like str_contains",
    "count": "count_if size row_count n rows",
    "count_distinct": "nunique n_unique unique_count n_distinct",
    "count_encode": "frequency_encode count_encoder freq",
    "cross": "crossed_column hashed_crosses interaction feature_cross",
    "day_of_month": "day",
    "day_of_week": "weekday dow",
    "day_of_year": "ordinal_day doy",
    "divide": "safe_divide ieee_divide div_no_nan",
    "fill": "fillna fill_null ifnull na_fill",
    "first": "first_value earliest",
    "great_circle_distance": "haversine st_distance geo_distance",
    "hash_bucket": "farm_fingerprint hash hash_strings hashing feature_hasher",
    "impute": "simple_imputer imputer",
    "is_missing": "isnull is_null isna is_nan",
    "kurtosis": "kurt",
    "last": "last_value latest",
    "last_k": "array_agg collect_list",
    "length": "len char_length str_length",
    "log": "ln",
    "lower": "lcase to_lower lowercase",
    "max_abs_scale": "max_abs_scaler",
    "maximum": "greatest",
    "mean": "avg average",
    "median": "approx_median",
    "minimum": "least",
    "modulo": "mod",
    "most_frequent": "mode approx_top_count",
    "one_hot_vocabulary": "one_hot_encoder get_dummies one_hot_encode",
    "power": "pow",
    "quantile": "percentile approx_quantiles percentile_cont quantile_cont",
    "regex_replace": "regexp_replace replace sub replace_all",
    "robust_scale": "robust_scaler",
    "scale_to_0_1": "min_max_scale min_max_scaler normalize min_max",
    "seconds_between": "timestamp_diff date_diff datetime_diff",
    "skewness": "skew",
    "split_part": "split",
    "stddev": "std stddev_pop standard_deviation stdev",
    "strip": "trim btrim",
    "sum": "total sum_if",
    "target_mean": "target_encoder target_encode mean_encode likelihood_encode",
    "time_since_last": "recency seconds_since_last time_since",
    "top_k": "n_largest largest",
    "upper": "ucase to_upper uppercase",
    "variance": "var var_pop",
    "vocabulary": (
        "compute_and_apply_vocabulary ordinal_encoder label_encoder "
        "string_lookup string_indexer factorize"
    ),
    "where": "iff if_else case case_when",
    "zscore": "scale_to_z_score z_score standard_scaler standardize standard_scale scale",
}
"""Other names of each operation, in small letters, with blanks between them."""


_OVER_TIME = (
    "it belongs under aggregations, which see past rows by key and time: "
    "features: {{{name}: {text}}}, windows: [{window}]"
)
_PREVIOUS = (
    "the value before is last(x) of an aggregation: features: {previous: last(x)}, windows: [30d]"
)
_FUTURE = "it looks at later rows, which are not known at the prediction"
_RUNNING = {
    "sum": "sum(x)", "mean": "mean(x)", "max": "max(x)", "min": "min(x)", "std": "stddev(x)",
    "var": "variance(x)", "median": "median(x)", "count": "count()",
    "quantile": "quantile(x, 0.9)",
}  # fmt: skip

IDIOMS = {
    "lag": _PREVIOUS,
    "shift": _PREVIOUS,
    "previous": _PREVIOUS,
    "ffill": f"{_PREVIOUS}; it passes over missing values",
    "forward_fill": f"{_PREVIOUS}; it passes over missing values",
    "bfill": _FUTURE,
    "backward_fill": _FUTURE,
    "lead": _FUTURE,
    "diff": f"x minus the value before; {_PREVIOUS}",
    "pct_change": f"x / previous - 1; {_PREVIOUS}",
    "isin": "write x == 'a' or x == 'b'",
    "is_in": "write x == 'a' or x == 'b'",
    "between": "write low <= x <= high",
    "is_between": "write low <= x <= high",
    "not_null": "write not is_missing(x)",
    "is_not_null": "write not is_missing(x)",
    "not_na": "write not is_missing(x)",
    "ewm": _OVER_TIME.format(name="recent", text="mean(x)", window="1d, 7d, 30d"),
    "ewm_mean": _OVER_TIME.format(name="recent", text="mean(x)", window="1d, 7d, 30d"),
    "group_by": "the key of an aggregation says whose rows are summarised: by: key",
    "over": "the key of an aggregation says whose rows are summarised: by: key",
    "partition_by": "the key of an aggregation says whose rows are summarised: by: key",
    "rank": "bucketize(x, buckets=100) says which share of the training rows lies below",
    "percent_rank": "bucketize(x, buckets=100) says which share of the training rows lies below",
    **{
        f"{prefix}_{name}": _OVER_TIME.format(name=name, text=text, window=window)
        for prefix, window in (("rolling", "7d"), ("expanding", "lifetime"), ("cum", "lifetime"))
        for name, text in _RUNNING.items()
    },
}  # fmt: skip
"""What is no operation here, with what is written instead."""


def said_here(name: str) -> str | None:
    """Return what is written here for what other libraries have an operation for.

    Capitals and underscores do not count.

    Example:
        >>> said_here("isin"), said_here("entropy")
        ("write x == 'a' or x == 'b'", None)
    """
    return next((said for idiom, said in IDIOMS.items() if _plain(idiom) == _plain(name)), None)


def called_here(name: str) -> str | None:
    """Return what an operation is called here that is called `name` elsewhere.

    Capitals and underscores do not count.

    Example:
        >>> called_here("AVG"), called_here("StandardScaler"), called_here("entropy")
        ('mean', 'zscore', None)
    """
    wanted = _plain(name)
    for ours, others in SYNONYMS.items():
        if wanted in map(_plain, others.split()):
            return ours
    return None


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
