"""What operations are called elsewhere: in SQL, pandas, scikit-learn, Spark and tf.Transform."""

from __future__ import annotations

__all__ = ["SYNONYMS", "called_here"]

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
