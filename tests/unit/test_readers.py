"""Reading examples: every reader gives the same values, and says alike what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from featurekit.errors import DataError, UsageError
from featurekit.training import ExampleSet, as_array, spread

BIG = 2**60 + 1
SMALLEST = -(2**63)
SCHEMA: dict[str, pl.DataType] = {
    "id": pl.Int64(), "whole": pl.Int64(), "part": pl.Float32(), "wide": pl.Float64(),
    "text": pl.String(), "vector": pl.Array(pl.Float32, 2), "label": pl.Boolean(),
}  # fmt: skip
FILES: list[list[tuple[Any, ...]]] = [
    [(1, BIG, 0.5, 1e300, "a", [1.0, 2.0], True), (2, None, None, None, None, None, False)],
    [(3, 3, -1.5, 0.1, "", [3.0, 4.0], True)],
    [(4, -4, float("inf"), -0.0, "ß", [5.0, 6.0], False), (5, 5, 2.5, 0.2, "b", None, True)],
]
ROWS = [row for file in FILES for row in file]
FEATURES = ("whole", "part", "wide", "text", "vector")


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> ExampleSet:
    folder = tmp_path_factory.mktemp("split=train")
    for number, rows in enumerate(FILES):
        pl.DataFrame(rows, SCHEMA, orient="row").write_parquet(folder / f"0000000{number}.parquet")
    (folder / "00000000.tfrecord").touch()
    return ExampleSet(folder, ("id",), FEATURES, labelled=True)


def counted(folder: Path, rows: int, files: int = 1) -> ExampleSet:
    """Examples with the numbers from 0 up."""
    each = rows // files
    for number in range(files):
        values = pl.select(n=pl.int_range(number * each, (number + 1) * each))
        values.write_parquet(folder / f"{number:08}.parquet")
    return ExampleSet(folder, (), ("n",), labelled=False)


def numbers(dataset: Any) -> list[int]:
    return [int(n) for batch in dataset.as_numpy_iterator() for n in batch["n"]]


def test_all_files_are_read_in_the_order_of_the_rows(examples: ExampleSet) -> None:
    assert examples.to_polars().rows() == [
        (*row[:5], None if row[5] is None else row[5], row[6]) for row in ROWS
    ]
    assert examples.scan().select("id").collect()["id"].to_list() == [1, 2, 3, 4, 5]


def test_arrow_has_the_types_of_the_examples(examples: ExampleSet) -> None:
    table = examples.to_arrow()
    assert [str(field.type) for field in table.schema] == [
        "int64", "int64", "float", "double", "large_string", "fixed_size_list<item: float>[2]",
        "bool",
    ]  # fmt: skip
    assert table.column("whole").to_pylist() == [BIG, None, 3, -4, 5]
    assert table.column("vector").to_pylist()[1] is None


def test_pandas_keeps_integers_beside_missing_values(examples: ExampleSet) -> None:
    frame = examples.to_pandas()
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "id": "int64", "whole": "Int64", "part": "float32", "wide": "float64", "text": "str",
        "vector": "object", "label": "bool",
    }  # fmt: skip
    assert frame["whole"][0] == BIG
    assert frame.loc[1, list(FEATURES)].isna().all()
    assert frame["text"][2] == ""
    assert frame["vector"][0].tolist() == [1.0, 2.0]


def test_x_is_a_named_table_with_vectors_laid_out_and_y_an_array(examples: ExampleSet) -> None:
    some = ExampleSet(examples.folder, ("id",), ("wide", "vector", "part"), labelled=True)
    features, label = some.to_xy()
    assert list(features) == ["wide", "vector_0", "vector_1", "part"]
    nan = np.nan
    np.testing.assert_array_equal(features, [
        [1e300, 1, 2, 0.5], [nan, nan, nan, nan], [0.1, 3, 4, -1.5], [0, 5, 6, np.inf],
        [0.2, nan, nan, 2.5],
    ])  # fmt: skip
    assert label.tolist() == [True, False, True, False, True]
    assert label.dtype == bool


def test_x_keeps_strings_and_names(examples: ExampleSet) -> None:
    features, _ = examples.to_xy()
    assert list(features) == ["whole", "part", "wide", "text", "vector_0", "vector_1"]
    assert features.loc[1].isna().all()
    assert features["text"][2] == ""


def test_without_a_label_there_is_no_y(examples: ExampleSet) -> None:
    with pytest.raises(UsageError, match="these examples have no label"):
        ExampleSet(examples.folder, (), FEATURES, labelled=False).to_xy()


def test_a_table_of_vectors_alone_is_an_array(examples: ExampleSet) -> None:
    frame = examples.to_polars().select("vector")
    assert spread(frame).columns == ["vector_0", "vector_1"]
    assert as_array(frame).dtype == np.float32
    assert as_array(frame.clear()).shape == (0, 2)


def test_a_dataset_marks_missing_values_as_the_saved_model_does(examples: ExampleSet) -> None:
    import tensorflow as tf

    dataset = examples.to_dataset(batch_size=2)
    features, label = dataset.element_spec
    assert features == {
        "whole": tf.TensorSpec([None], tf.int64), "part": tf.TensorSpec([None], tf.float32),
        "wide": tf.TensorSpec([None], tf.float64), "text": tf.TensorSpec([None], tf.string),
        "vector": tf.TensorSpec([None, 2], tf.float32),
    }  # fmt: skip
    assert label == tf.TensorSpec([None], tf.int64)
    batches = list(dataset.as_numpy_iterator())
    assert [len(label) for _, label in batches] == [2, 2, 1]
    assert len(dataset) == 3
    whole = {name: np.concatenate([rows[name] for rows, _ in batches]) for name in FEATURES}
    nan = np.nan
    assert whole["whole"].tolist() == [BIG, SMALLEST, 3, -4, 5]
    assert whole["text"].tolist() == [b"a", b"", b"", "ß".encode(), b"b"]
    np.testing.assert_array_equal(whole["part"], [0.5, nan, -1.5, np.inf, 2.5])
    np.testing.assert_array_equal(whole["wide"], [1e300, nan, 0.1, 0, 0.2])
    np.testing.assert_array_equal(whole["vector"], [[1, 2], [nan, nan], [3, 4], [5, 6], [nan, nan]])
    assert np.concatenate([label for _, label in batches]).tolist() == [1, 0, 1, 0, 1]


def test_a_dataset_without_label_has_features_alone(tmp_path: Path) -> None:
    dataset = counted(tmp_path, 10).to_dataset(4)
    assert [batch["n"].tolist() for batch in dataset.as_numpy_iterator()] == [
        [0, 1, 2, 3], [4, 5, 6, 7], [8, 9],
    ]  # fmt: skip


def test_a_dataset_keeps_the_order_over_many_files_and_reads(tmp_path: Path) -> None:
    examples = counted(tmp_path, 300_000, files=3)
    assert numbers(examples.to_dataset(1_000)) == list(range(300_000))


@pytest.mark.parametrize("shuffle", [1, 1_000, 500_000])
def test_shuffling_changes_the_order_and_nothing_else(tmp_path: Path, shuffle: int) -> None:
    found = numbers(counted(tmp_path, 200_000, files=2).to_dataset(999, shuffle=shuffle, seed=3))
    assert found != sorted(found)
    assert sorted(found) == list(range(200_000))


def test_each_pass_has_another_order_and_a_seed_repeats_them(tmp_path: Path) -> None:
    examples = counted(tmp_path, 1_000)
    dataset = examples.to_dataset(100, shuffle=1_000, seed=5)
    first, second = numbers(dataset), numbers(dataset)
    assert first != second
    again = examples.to_dataset(100, shuffle=1_000, seed=5)
    assert [numbers(again), numbers(again)] == [first, second]


def test_a_repeated_dataset_has_no_end(tmp_path: Path) -> None:
    dataset = counted(tmp_path, 10).to_dataset(4, repeat=True)
    assert dataset.cardinality() == -1
    assert numbers(dataset.take(6)) == [*range(10), *range(10)]


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"shuffle": -1}])
def test_senseless_options_are_refused(examples: ExampleSet, options: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=next(iter(options))):
        examples.to_dataset(**options)  # type: ignore[arg-type]


def test_a_damaged_file_is_an_error_with_its_place(tmp_path: Path) -> None:
    examples = counted(tmp_path, 10)
    (file,) = examples.files
    file.write_bytes(file.read_bytes()[:-9])
    for read in (examples.to_polars, examples.to_pandas, examples.to_dataset):
        with pytest.raises(DataError, match="the file is truncated or not Parquet") as caught:
            read()
        assert caught.value.where == str(tmp_path)
