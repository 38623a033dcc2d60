"""Aggregations over past rows of a source."""

from featurekit.transforms.aggregate.all import All
from featurekit.transforms.aggregate.any import Any
from featurekit.transforms.aggregate.approx_count_distinct import ApproxCountDistinct
from featurekit.transforms.aggregate.count import Count
from featurekit.transforms.aggregate.count_distinct import CountDistinct
from featurekit.transforms.aggregate.first import First
from featurekit.transforms.aggregate.first_k import FirstK
from featurekit.transforms.aggregate.kurtosis import Kurtosis
from featurekit.transforms.aggregate.last import Last
from featurekit.transforms.aggregate.last_k import LastK
from featurekit.transforms.aggregate.max import Max
from featurekit.transforms.aggregate.mean import Mean
from featurekit.transforms.aggregate.median import Median
from featurekit.transforms.aggregate.min import Min
from featurekit.transforms.aggregate.most_frequent import MostFrequent
from featurekit.transforms.aggregate.quantile import Quantile
from featurekit.transforms.aggregate.skewness import Skewness
from featurekit.transforms.aggregate.stddev import Stddev
from featurekit.transforms.aggregate.sum import Sum
from featurekit.transforms.aggregate.time_since_first import TimeSinceFirst
from featurekit.transforms.aggregate.time_since_last import TimeSinceLast
from featurekit.transforms.aggregate.top_k import TopK
from featurekit.transforms.aggregate.variance import Variance

__all__ = [
    "All",
    "Any",
    "ApproxCountDistinct",
    "Count",
    "CountDistinct",
    "First",
    "FirstK",
    "Kurtosis",
    "Last",
    "LastK",
    "Max",
    "Mean",
    "Median",
    "Min",
    "MostFrequent",
    "Quantile",
    "Skewness",
    "Stddev",
    "Sum",
    "TimeSinceFirst",
    "TimeSinceLast",
    "TopK",
    "Variance",
]
