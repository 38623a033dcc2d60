"""Lookups over time take one row whole: which one, from when on, and what is said of ties."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.analysis.leakage.replay import replay
from featurekit.cli import main
from featurekit.delays import delayed_lookups
from featurekit.smaller import smaller_spec

START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def quotes(**columns: Any) -> pl.DataFrame:
    """Return two quotes of one key at one instant."""
    plain = {
        "key": ["x", "x"], "t": [day(0)] * 2, "price": [100.0, 9000.0],
        "currency": ["USD", "JPY"], "seq": [1, 2],
    }  # fmt: skip
    return pl.DataFrame({**plain, **columns})


def asked(*days: float) -> pl.DataFrame:
    times = [day(number) for number in days]
    return pl.DataFrame({"id": range(len(days)), "key": ["x"] * len(days), "now": times})


def spec(
    rows: pl.DataFrame, examples: pl.DataFrame | None = None, source: Any = None, **lookup: Any
) -> fk.Spec:
    """Return a spec that looks price and currency up."""
    plain = {"source": "quotes", "by": "key", "features": ["price", "currency"]}
    return fk.Spec(
        sources={
            "quotes": fk.Source(data=rows, event_time="t", **(source or {})),
            "examples": fk.Source(
                data=asked(1) if examples is None else examples,
                columns={"key": {"available": True}},
            ),
        },
        examples=fk.Examples("examples", keys=["id"], predict_at="now"),
        lookups={"rate": fk.Lookup(**{**plain, **lookup})},
        features={"price": "rate.price", "yen": "rate.currency == 'JPY'"},
    )


def looked_up(made: fk.Spec, folder: Path) -> tuple[list[tuple[Any, ...]], fk.Run]:
    run = fk.run(made, folder, tensorflow=False)
    return run.examples().to_polars().sort("id").select("price", "yen").rows(), run


def test_price_and_currency_come_from_one_row(tmp_path: Path) -> None:
    # By all values in the order of their names: USD is after JPY, whatever the price is.
    rows, run = looked_up(spec(quotes()), tmp_path / "run")
    assert rows == [(100.0, 0)]
    assert run.manifest["rows"]["undecided_lookups"] == {"rate": 1}


@pytest.mark.parametrize(("seq", "wanted"), [([1, 2], (9000.0, 1)), ([2, 1], (100.0, 0))])
def test_order_by_decides_between_rows_that_took_effect_at_once(
    seq: list[int], wanted: tuple[float, int], tmp_path: Path
) -> None:
    rows, run = looked_up(spec(quotes(seq=seq), order_by="seq"), tmp_path / "run")
    assert rows == [wanted]
    assert "undecided_lookups" not in run.manifest["rows"]


def test_a_row_without_what_it_is_ordered_by_is_before_all_others(tmp_path: Path) -> None:
    rows, _ = looked_up(spec(quotes(seq=[None, -5]), order_by=["seq"]), tmp_path / "run")
    assert rows == [(9000.0, 1)]


def test_the_second_column_of_order_by_decides_where_the_first_does_not(tmp_path: Path) -> None:
    made = spec(quotes(seq=[3, 3], shop=["b", "a"]), order_by=["seq", "shop"])
    assert looked_up(made, tmp_path / "run")[0] == [(100.0, 0)]


def test_the_event_time_decides_before_order_by_does(tmp_path: Path) -> None:
    rows = quotes(t=[day(0), day(0.5)], known=[day(0.7)] * 2, seq=[9, 1])
    made = spec(rows, source={"available_at": "known"}, order_by="seq")
    assert looked_up(made, tmp_path / "run")[0] == [(9000.0, 1)]


def test_a_missing_value_of_the_row_that_is_taken_is_missing(tmp_path: Path) -> None:
    rows, _ = looked_up(spec(quotes(price=[100.0, None]), order_by="seq"), tmp_path / "run")
    assert rows == [(None, 1)]


def test_a_row_counts_once_all_of_it_is_known(tmp_path: Path) -> None:
    rows = quotes(t=[day(0), day(2)], known=[day(1), day(5)])
    late = {"columns": {"price": {"available_at": "known"}}}
    made = spec(rows, asked(0.5, 3, 6), late)
    # On day 3 the currency of the second row is known, and its price is not.
    assert looked_up(made, tmp_path / "run")[0] == [(None, None), (100.0, 0), (9000.0, 1)]


def test_equal_rows_are_no_tie(tmp_path: Path) -> None:
    made = spec(quotes(price=[5.0, 5.0], currency=["JPY", "JPY"]))
    assert "undecided_lookups" not in looked_up(made, tmp_path / "run")[1].manifest["rows"]


@pytest.mark.parametrize("semantics", [None, 1])
def test_a_run_of_the_first_semantics_looks_each_column_up_for_itself(
    semantics: int | None, tmp_path: Path
) -> None:
    made = spec(quotes())
    quotes().write_parquet(tmp_path / "quotes.parquet")
    asked(1).write_parquet(tmp_path / "examples.parquet")
    plain = made.as_plain() | {
        "sources": {
            "quotes": {"path": "quotes.parquet", "event_time": "t"},
            "examples": {"path": "examples.parquet"},
        }
    }
    run = fk.run(fk.Spec.from_dict(plain, base=tmp_path), tmp_path / "run", tensorflow=False)
    assert run.apply(asked(1)).select("price", "yen").rows() == [(100.0, 0)]
    manifest = dict(run.manifest)
    del manifest["semantics"]
    if semantics is not None:
        manifest["semantics"] = semantics
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    old = fk.open_run(tmp_path / "run")
    assert old.apply(asked(1)).select("price", "yen").rows() == [(9000.0, 0)]


def test_order_by_is_written_and_read_again() -> None:
    made = spec(quotes(), order_by=["seq", "t"])
    assert made.as_plain()["lookups"]["rate"]["order_by"] == ["seq", "t"]
    assert "order_by" not in spec(quotes()).as_plain()["lookups"]["rate"]
    text = made.to_yaml() if made.sources["quotes"].data is None else None
    assert text is None
    plain = made.as_plain()["lookups"]["rate"]
    assert fk.Lookup(**plain) == made.lookups["rate"]


def files(folder: Path, order_by: str = "") -> Path:
    """Write quotes, examples and a spec over them; return the spec's path."""
    quotes().write_parquet(folder / "quotes.parquet")
    asked(1, 2).write_parquet(folder / "examples.parquet")
    path = folder / "spec.yaml"
    path.write_text(f"""
sources:
  quotes: {{path: quotes.parquet, event_time: t}}
  examples: {{path: examples.parquet}}
examples: {{source: examples, keys: [id], predict_at: now}}
lookups:
  rate: {{source: quotes, by: key, features: [price, currency]{order_by}}}
features: {{price: rate.price, yen: rate.currency == 'JPY'}}
""")
    return path


def test_a_run_warns_of_ties_and_what_it_hints_at_settles_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["run", str(files(tmp_path)), "--no-tensorflow", "--out"]
    assert main([*command, str(tmp_path / "a")]) == 0
    said = capsys.readouterr().out
    assert "warning     lookup 'rate': for 2 examples, rows that took effect at once differ" in said
    assert "order_by in the lookup" in said
    files(tmp_path, ", order_by: seq")
    assert main([*command, str(tmp_path / "b")]) == 0
    assert "lookup 'rate'" not in capsys.readouterr().out
    assert fk.open_run(tmp_path / "b").examples().to_polars()["price"].to_list() == [9000.0] * 2


def test_a_snapshot_takes_one_row_whole_too(tmp_path: Path) -> None:
    found = fk.snapshot(files(tmp_path, ", order_by: seq"), day(1))
    assert found["rate"].select("key", "price", "currency").rows() == [("x", 9000.0, "JPY")]


def test_order_by_needs_rows_to_choose_from() -> None:
    wrong = spec(quotes(), order_by="seq")
    timeless = fk.Source(data=quotes().head(1))
    made = fk.Spec(
        {**wrong.sources, "quotes": timeless}, wrong.examples, wrong.features,
        lookups=wrong.lookups,
    )  # fmt: skip
    with pytest.raises(fk.SpecErrors, match=r"lookup 'rate': order_by: .*declares no event_time"):
        fk.check(made)
    # Both hints lead on.
    fk.check(wrong)
    plain = {"rate": fk.Lookup("quotes", "key", ["price", "currency"])}
    fk.check(fk.Spec(made.sources, made.examples, made.features, lookups=plain))


@pytest.mark.parametrize(
    ("source", "order_by", "message"),
    [
        ({}, "sq", "lookup 'rate': order_by: there is no column 'sq'.*did you mean 'seq'"),
        (
            {"columns": {"seq": {"available": False}}}, "seq",
            "lookup 'rate': order_by: 'seq' is declared available: false",
        ),
    ],
)  # fmt: skip
def test_what_rows_cannot_be_ordered_by_is_refused(
    source: dict[str, Any], order_by: str, message: str
) -> None:
    with pytest.raises(fk.SpecErrors, match=message):
        fk.check(spec(quotes(), source=source, order_by=order_by))


def test_the_plan_names_the_column_that_delays_a_lookup() -> None:
    rows = quotes(t=[day(0), day(2)], known=[day(1), day(5)])
    made = spec(rows, source={"columns": {"price": {"available_at": "known"}}})
    plan = fk.plan(made)
    told = " ".join(plan.explain().split())
    assert (
        "lookup rate counts from the latest of known and t, delayed by price; currency alone would "
        "count from t: columns with another delay go into another lookup"
    ) in told
    assert plan.to_dict()["delayed_lookups"] == [{
        "lookup": "rate", "counts_from": ("known", "t"), "by": ("price",),
        "earlier": {"currency": ("t",)},
    }]  # fmt: skip
    # What it says to do takes the currency from its own time on.
    apart = {
        "rate": fk.Lookup("quotes", "key", ["price"]),
        "kind": fk.Lookup("quotes", "key", ["currency"]),
    }
    features = {"price": "rate.price", "yen": "kind.currency == 'JPY'"}
    parted = fk.plan(fk.Spec(made.sources, made.examples, features, lookups=apart))
    assert delayed_lookups(parted.resolved) == ()
    assert "delayed" not in parted.explain()


def test_order_by_delays_a_lookup_too() -> None:
    rows = quotes(known=[day(1), day(5)])
    made = spec(rows, source={"columns": {"seq": {"available_at": "known"}}}, order_by="seq")
    (found,) = delayed_lookups(fk.plan(made).resolved)
    assert found.by == ("seq",)
    assert found.earlier == {"price": ("t",), "currency": ("t",)}


def test_a_smaller_spec_keeps_all_that_its_lookups_choose_rows_by() -> None:
    made = spec(quotes(), order_by="seq", source={"columns": {"seq": "int64"}})
    smaller = smaller_spec(made, ["yen"])
    assert list(smaller.features) == ["price"]
    assert smaller.lookups == made.lookups
    assert smaller.sources["quotes"].columns == made.sources["quotes"].columns


def test_replay_finds_nothing_where_rows_are_taken_whole() -> None:
    rows = pl.concat([quotes(t=[day(n)] * 2, known=[day(n + 1), day(n + 3)]) for n in range(6)])
    late = {"columns": {"price": {"available_at": "known"}}}
    found = replay(spec(rows, asked(*range(8)), late, order_by="seq"))
    assert found.verdict == "clean"


def test_replay_finds_rows_that_are_chosen_by_what_is_known_later() -> None:
    rows = pl.concat([quotes(t=[day(n)] * 2, seq=[n % 2, 1]) for n in range(6)])
    made = spec(rows, asked(*(n + 0.5 for n in range(6))), order_by="seq")
    truth = spec(
        rows, asked(1), {"columns": {"seq": {"available_at": "t + 2d"}}}, order_by="seq"
    )  # fmt: skip
    assert replay(made).verdict == "clean"
    assert replay(made, truth=truth).features["price"].changed > 0
