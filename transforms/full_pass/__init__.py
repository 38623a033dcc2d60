"""Full-pass operations: each needs statistics of its input over the training rows."""

from featurekit.transforms.full_pass.bucketize import Bucketize
from featurekit.transforms.full_pass.count_encode import CountEncode
from featurekit.transforms.full_pass.impute import Impute
from featurekit.transforms.full_pass.max_abs_scale import MaxAbsScale
from featurekit.transforms.full_pass.one_hot_vocabulary import OneHotVocabulary
from featurekit.transforms.full_pass.robust_scale import RobustScale
from featurekit.transforms.full_pass.scale_by_min_max import ScaleByMinMax
from featurekit.transforms.full_pass.scale_to_0_1 import ScaleTo01
from featurekit.transforms.full_pass.vocabulary import Vocabulary
from featurekit.transforms.full_pass.zscore import ZScore

__all__ = [
    "Bucketize",
    "CountEncode",
    "Impute",
    "MaxAbsScale",
    "OneHotVocabulary",
    "RobustScale",
    "ScaleByMinMax",
    "ScaleTo01",
    "Vocabulary",
    "ZScore",
]
