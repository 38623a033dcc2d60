"""Every text that is there is counted, and a vocabulary says which words it leaves out."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.cli import main
from featurekit.errors import DataError, SpecErrors
from featurekit.job import run
from featurekit.runs import Run, open_run
from featurekit.spec.objects import Examples, Source, Spec

ADDRESS, PORT = "12 High St\nLeeds", "Hull\r"
ROWS = pl.DataFrame({
    "id": range(10),
    "town": [ADDRESS] * 6 + ["York"] * 3 + [PORT],
    "sold": [1, 1, 1, 1, 1, 0, 0, 0, 1, 1],
})  # fmt: skip
FEATURES = {
    "often": "count_encode(town)",
    "share": "count_encode(town, normalize=True)",
    "mean": "target_mean(town, smoothing=0)",
    "word": "vocabulary(town)",
    "every": "vocabulary(town, file_format='tfrecord_gzip')",
}


def finished(folder: Path, rows: pl.DataFrame = ROWS, **features: str) -> Run:
    spec = Spec(
        {"rows": Source(data=rows)}, Examples("rows", keys="id", label="sold"),
        features or FEATURES,
    )  # fmt: skip
    return run(spec, folder / "run", tensorflow=False)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return finished(tmp_path_factory.mktemp("made"))


def served(made: Run, *towns: str | None) -> dict[str, list[Any]]:
    """Return what a run, opened again, makes of towns."""
    rows = pl.DataFrame({"town": towns}, schema={"town": pl.String})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*an older version of FeatureKit")
        frame: pl.DataFrame = open_run(made.path).apply(rows)
    return frame.to_dict(as_series=False)


def test_words_with_line_ends_are_counted(made: Run) -> None:
    got = served(made, ADDRESS, "York", PORT, "Hull", None)
    assert got["often"] == [6, 3, 1, 0, None]
    assert got["share"] == pytest.approx([0.6, 0.3, 0.1, 0, None])


def test_words_with_line_ends_have_means_of_their_own(made: Run) -> None:
    # Of six rows five were sold, of three one, of one all; of all ten rows seven.
    assert served(made, ADDRESS, "York", PORT, "Hull")["mean"] == pytest.approx(
        [5 / 6, 1 / 3, 1, 7 / 10]
    )


def test_a_mean_of_the_label_counts_the_empty_word(tmp_path: Path) -> None:
    rows = pl.DataFrame({
        "id": range(6), "town": ["", "", "a\nb", "x", "x", "x"], "sold": [1, 0, 1, 0, 0, 1],
    })  # fmt: skip
    made = finished(tmp_path, rows, mean="target_mean(town, smoothing=2)")
    # The m-estimate of Micci-Barreca with m = 2: (sum + 2 * prior) / (n + 2), the prior 3 / 6.
    wanted = [(1 + 1) / 4, (1 + 1) / 3, (1 + 1) / 5, 1 / 2]
    assert served(made, "", "a\nb", "x", "new")["mean"] == pytest.approx(wanted)


def test_a_vocabulary_of_text_leaves_out_what_has_no_line_and_names_it(made: Run) -> None:
    assert served(made, ADDRESS, "York", PORT)["word"] == [-1, 0, -1]
    entry = json.loads((made.path / "statistics.json").read_text("utf-8"))["wordcounts(town)"]
    assert entry["excluded"] == [ADDRESS, PORT]
    assert (entry["excluded_words"], entry["excluded_rows"]) == (2, 7)
    (warning,) = made.manifest["warnings"]
    assert warning == (
        "feature 'word': the vocabulary of town leaves out 2 words in 7 training rows, for a line "
        "of a text file cannot hold them: '12 High St\\nLeeds', 'Hull\\r'; "
        'file_format="tfrecord_gzip" can'
    )


def test_what_the_warning_hints_at_has_these_words(made: Run, tmp_path: Path) -> None:
    # Six rows, three, one: the most frequent first.
    assert served(made, ADDRESS, "York", PORT, "Hull")["every"] == [0, 1, 2, -1]
    every = finished(tmp_path, every=FEATURES["every"], one="one_hot_vocabulary(town, "
                     "file_format='tfrecord_gzip')")  # fmt: skip
    assert every.manifest["warnings"] == []
    assert served(every, PORT)["one"] == [[0, 0, 1]]


def test_the_command_run_says_which_words_a_vocabulary_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ROWS.write_parquet(tmp_path / "rows.parquet")
    lines = ["sources: {rows: {path: rows.parquet}}", "examples: {source: rows}"]
    lines += ["features: {word: vocabulary(town)}"]
    (tmp_path / "spec.yaml").write_text("\n".join(lines))
    spec = str(tmp_path / "spec.yaml")
    assert main(["run", spec, "--out", str(tmp_path / "a"), "--no-tensorflow"]) == 0
    assert "  warning     feature 'word': the vocabulary of town leaves" in capsys.readouterr().out
    assert main(["run", spec, "--out", str(tmp_path / "b"), "--no-tensorflow", "--json"]) == 0
    assert "7 training rows" in json.loads(capsys.readouterr().out)["warnings"][0]


def test_a_fitted_transformer_warns_of_the_words_that_it_leaves_out() -> None:
    rows = pl.DataFrame({"x": ["a", "", ""]})
    with pytest.warns(UserWarning, match="leaves out 1 word in 2 training rows"):
        fk.FeatureTransformer({"v": "vocabulary(x)"}).fit(rows)
    fk.FeatureTransformer({"v": "count_encode(x)"}).fit(rows)


def test_a_column_without_a_word_of_text_says_which_format_has_them(tmp_path: Path) -> None:
    rows = ROWS.with_columns(town=pl.lit(""))
    with pytest.raises(DataError, match='file_format="tfrecord_gzip"'):
        finished(tmp_path, rows, word="vocabulary(town)")
    made = finished(tmp_path, rows, word="vocabulary(town, file_format='tfrecord_gzip')")
    assert served(made, "", "a", None)["word"] == [0, -1, None]


def test_there_is_no_third_file_format(tmp_path: Path) -> None:
    with pytest.raises(SpecErrors, match="file_format must be 'text' or 'tfrecord_gzip', got 'cs"):
        finished(tmp_path, word="vocabulary(town, file_format='csv')")


@pytest.mark.parametrize("semantics", [None, 1])
def test_an_old_run_goes_on_without_the_words_that_it_did_not_count(
    semantics: int | None, tmp_path: Path
) -> None:
    made = finished(tmp_path, often=FEATURES["often"], share=FEATURES["share"])
    # What version 1 wrote: one vocabulary, of York alone.
    new = ("semantics", "files", "digests")
    manifest = {key: value for key, value in made.manifest.items() if key not in new}
    manifest |= {} if semantics is None else {"semantics": semantics}
    (made.path / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    entry = {"kind": "WordCounts", "words": ["York"], "counts": [3], "distinct": 1}
    (made.path / "statistics.json").write_text(json.dumps({"wordcounts(town)": entry}), "utf-8")
    got = served(made, ADDRESS, "York", PORT)
    assert got == {"often": [0, 3, 0], "share": [0, 1, 0]}
