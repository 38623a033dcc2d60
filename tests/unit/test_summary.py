"""What large objects show of themselves at a prompt and in a notebook."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

import featurekit as fk
from featurekit.job import check, plan
from featurekit.leakage import scan_leakage
from featurekit.runs import Run

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "<script>alert(1)</script>"
ROWS = pl.DataFrame({"y": [0, 1] * 50, **{f"x{i}": [float(i), 2.0] * 50 for i in range(200)}})


def large() -> fk.Spec:
    """Return a spec of many features, sources and columns, with a name that is HTML."""
    return fk.Spec(
        sources={"rows": fk.Source(data=ROWS)} | {
            f"other{i}": fk.Source(path="x.parquet", columns={f"c{j}": "int64" for j in range(50)})
            for i in range(40)
        },
        examples=fk.Examples("rows", label="y"),
        features={f"f{i}": f"zscore(x{i} + {i})" for i in range(200)},
        description=HOSTILE,
    )  # fmt: skip


class Words(HTMLParser):
    """Collects the elements and the words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:  # noqa: ARG002
        self.elements.add(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_repr_of_anything_public_is_a_line(small_run: Run) -> None:
    spec = large()
    shown = {
        "spec": spec, "checked": check(spec), "plan": plan(spec), "verdicts": fk.verdicts(spec),
        "source": spec.sources["other1"], "examples": spec.examples, "run": small_run,
        "example set": small_run.examples(), "report": scan_leakage(ROWS, label="y"),
        "features": spec.features,
    }  # fmt: skip
    for name, held in shown.items():
        assert "\n" not in repr(held), name
        assert 10 < len(repr(held)) < 700, name
    assert repr(plan(spec)).startswith("<Plan of features: features f0, f1, f2, f3, f4, f5 and 194")
    assert repr(small_run).startswith("<Run of features: in ")
    assert repr(fk.Column(type="int64", unit="min")) == "Column(type='int64', unit='min')"


def test_a_notebook_shows_a_small_table_in_which_names_are_text(small_run: Run) -> None:
    report = scan_leakage(pl.DataFrame({"y": [0, 1] * 50, HOSTILE: [0.0, 1.0] * 50}), label="y")
    for held in (large(), plan(large()), small_run, small_run.examples(), report):
        page = Words(held._repr_html_())
        assert page.elements == {"table", "caption", "tbody", "tr", "th", "td", "bdi"}
        assert len(held._repr_html_()) < 4_000
    assert HOSTILE in Words(report._repr_html_()).words
    assert (
        f"train {small_run.manifest['rows']['splits']['train']:,}"
        in Words(small_run._repr_html_()).words
    )


@pytest.mark.parametrize("count", [5, 7, 8, 100])
def test_a_long_list_says_how_many_are_not_shown(count: int) -> None:
    from featurekit.summary import listed

    text = listed(f"f{i}" for i in range(count))
    more = int(text.split(" and ")[1].split()[0]) if " and " in text else 0
    assert text.count("f") + more == count
    assert more != 1


@pytest.mark.parametrize(
    ("package", "name"), [("apache_beam", "beam"), ("sklearn", "FeatureTransformer")]
)
def test_a_name_whose_package_is_missing_is_not_there_and_says_why(package: str, name: str) -> None:
    code = f"""
import inspect, pickle, sys
sys.modules[{package!r}] = None
import featurekit as fk
assert not hasattr(fk, {name!r})
assert getattr(fk, {name!r}, 7) == 7
try:
    fk.{name}
except fk.MissingExtra as error:
    assert {package.removeprefix("apache_")!r} in str(error).replace("scikit-learn", "sklearn")
    assert "install" in error.hint
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
