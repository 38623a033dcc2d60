"""Row operations: each sees one row."""

from featurekit.transforms.row.add import Add
from featurekit.transforms.row.log1p import Log1p

__all__ = [
    "Add",
    "Log1p",
]
