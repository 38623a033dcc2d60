"""target_mean on Beam: the numbers of the embedded engine, whatever split, fold and level."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import featurekit as fk
from featurekit.runs import Run
from featurekit.spec.objects import Column, Examples, Source, Spec, Split
from tests.unit.test_target_mean import table

FEATURES = {
    "plain": "target_mean(c)",
    "rough": "target_mean(c, smoothing=0, folds=3)",
    "number": "target_mean(n, smoothing=2.5)",
    "both": "target_mean(concat(c, cast(n, 'string'), separator=' '))",
    "scaled": "zscore(target_mean(c))",
    "binned": "bucketize(impute(target_mean(n), 'median'), 4)",
    "twice": "target_mean(bucketize(target_mean(c), 3))",
}


def source(folder: Path, **columns: Column) -> Source:
    rows = table(3_000)
    rows.write_parquet(folder / "rows.parquet")
    return Source(path=str(folder / "rows.parquet"), columns=columns)


def compare(one: Run, other: Run) -> None:
    """Compare examples and statistics: counts exactly, floats at 1e-6 and sums at 1e-9."""
    for split in one.manifest["rows"]["splits"]:
        assert_frame_equal(
            one.examples(split).to_polars(), other.examples(split).to_polars(),
            check_exact=False, rel_tol=1e-6, abs_tol=1e-7,
        )  # fmt: skip
    for request, value in one.fitted.items():
        if type(request.statistic).__name__ == "TargetMeans":
            found = other.fitted[request]
            assert found.categories == value.categories
            assert found.category_rows == value.category_rows
            assert found.rows == value.rows
            for part, wanted in zip(found.category_sums, value.category_sums, strict=True):
                assert part == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("label", ["y", "amount", "status"])
def test_examples_and_statistics_are_those_of_the_embedded_engine(
    label: str, tmp_path: Path
) -> None:
    features = FEATURES
    if label == "status":
        features = {"f": "target_mean(c, by='who', positive='late')"}
    spec = Spec(
        {"rows": source(tmp_path)},
        Examples("rows", keys=["id", "who"], label=label, split=Split(column="part")),
        features,
    )
    here = fk.run(spec, tmp_path / "here", tensorflow=False)
    there = fk.run(spec, tmp_path / "there", engine="beam", tensorflow=True)
    compare(here, there)
    certificate = there.manifest["parity"]
    assert certificate["cross_fitted"]["features"] == list(features)
    train, applied = there.examples("train").to_polars(), there.apply(table(3_000))
    assert not train[next(iter(features))].is_in(applied[next(iter(features))].implode()).all()


def test_folds_by_time_are_those_of_the_embedded_engine(tmp_path: Path) -> None:
    columns = {name: Column(available_at="known") for name in ("y",)}
    spec = Spec(
        {"rows": source(tmp_path, **columns)},
        Examples("rows", keys="id", label="y", predict_at="at - 2h", split=Split(column="part")),
        FEATURES,
    )
    here = fk.run(spec, tmp_path / "here", tensorflow=False)
    there = fk.run(spec, tmp_path / "there", engine="beam", tensorflow=True)
    compare(here, there)
    train = there.examples("train").to_polars()
    assert train["plain"].null_count() > train.height // 10, "the first block sees nothing"
    assert train["plain"].count() > train.height // 2


def test_columns_called_label_and_split_are_read_as_they_are_on_beam(tmp_path: Path) -> None:
    rows = table(600).select("id", label=pl.col("n"), split=pl.col("c"))
    rows.write_parquet(tmp_path / "rows.parquet")
    spec = Spec(
        {"rows": Source(path=str(tmp_path / "rows.parquet"))},
        Examples("rows", keys="id", label="label > 2", split=Split(hash="id", eval=0.3)),
        {"f": "target_mean(split)", "word": "upper(split)"},
    )
    here = fk.run(spec, tmp_path / "here", tensorflow=False)
    there = fk.run(spec, tmp_path / "there", engine="beam", tensorflow=False)
    compare(here, there)


def test_what_is_kept_of_a_file_is_of_its_folds_and_its_label(tmp_path: Path) -> None:
    rows = table(600)
    for place in range(2):
        rows[place * 300 : place * 300 + 300].write_parquet(tmp_path / f"rows-{place}.parquet")

    def once(name: str, features: dict[str, str], **settings: Any) -> Run:
        examples = Examples(
            "rows", keys="id", split=Split(column="part"), **{"label": "y", **settings}
        )
        spec = Spec({"rows": Source(path=str(tmp_path / "rows-*.parquet"))}, examples, features)
        cache = tmp_path / "cache"
        there = fk.run(spec, tmp_path / name, engine="beam", tensorflow=False, cache=cache)
        compare(fk.run(spec, tmp_path / f"{name}-here", tensorflow=False), there)
        return there

    first = once("first", {"f": "target_mean(c)", "c": "count_encode(c)"})
    again = once("again", {"f": "target_mean(c, smoothing=1)", "c": "count_encode(c)"})
    assert first.manifest["beam"]["cache"]["reused"] == 0
    assert again.manifest["beam"]["cache"]["reused"] == 2
    other = once("other", {"f": "target_mean(c, by='who')", "c": "count_encode(c)"})
    assert other.manifest["beam"]["cache"]["reused"] == 0
