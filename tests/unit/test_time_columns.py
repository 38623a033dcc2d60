"""Times as files write them: formats, counts since 1970, hours shown twice or never."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import featurekit as fk
from featurekit.engines.bigquery.columns import stored_column
from featurekit.types import TIMESTAMP
from tests.zetasql import SqlError, evaluate

NEW_YORK = "America/New_York"
LOG = ["00:50", "01:10", "01:50", "01:05", "01:55", "02:10"]
"""What the clock of a log in New York showed on 3 November 2024; it was put back at 02:00."""


def written(folder: Path, times: list[str | None], name: str = "log.csv") -> Path:
    """Write a CSV file with a column of times."""
    lines = [f'"{time}",{place}' if time else f",{place}" for place, time in enumerate(times)]
    (folder / name).write_text("\n".join(["t,n", *lines]) + "\n")
    return folder / name


def spec_of(path: Path | Any, **column: Any) -> fk.Spec:
    """Return a spec whose one feature is the time in microseconds."""
    given = {"path": str(path)} if isinstance(path, Path) else {"data": path}
    source = fk.Source(**given, columns={"t": {"type": "timestamp", **column}})
    return fk.Spec({"log": source}, fk.Examples("log", keys="n"), {"at": "cast(t, 'int64')"})


def times_of(run: fk.Run) -> list[str | None]:
    """Return the times of a run's examples in UTC."""
    micros = run.examples().to_polars().sort("n")["at"].to_list()
    made = [None if at is None else datetime.fromtimestamp(at / 1e6, UTC) for at in micros]
    return [None if at is None else at.strftime("%m-%d %H:%M") for at in made]


def ran(tmp_path: Path, spec: fk.Spec) -> fk.Run:
    """Run a spec."""
    return fk.run(spec, tmp_path / "run", tensorflow=False, overwrite=True)


def autumn(folder: Path, times: list[str] = LOG, name: str = "log.csv") -> Path:
    """Write times of the night in which the clock is put back."""
    return written(folder, [f"2024-11-03 {time}" for time in times], name)


def test_a_time_that_the_clock_shows_twice_is_refused_by_default(tmp_path: Path) -> None:
    for column in ({}, {"ambiguous": "refuse"}):
        spec = spec_of(autumn(tmp_path), zone=NEW_YORK, **column)
        with pytest.raises(
            fk.DataError,
            match=r"shows twice .* in 4 rows \(the first is '2024-11-03 01:10.* row 2\)",
        ) as caught:
            ran(tmp_path, spec)
        assert "ambiguous: earliest" in caught.value.hint
        with pytest.raises(fk.DataError, match="shows twice"):
            fk.check(spec)


@pytest.mark.parametrize(("ambiguous", "expected"), [
    ("earliest", ["04:50", "05:10", "05:50", "05:05", "05:55", "07:10"]),
    ("latest", ["04:50", "06:10", "06:50", "06:05", "06:55", "07:10"]),
])  # fmt: skip
def test_the_earlier_or_the_later_of_two_hours_can_be_taken_and_is_counted(
    tmp_path: Path, ambiguous: str, expected: list[str]
) -> None:
    run = ran(tmp_path, spec_of(autumn(tmp_path), zone=NEW_YORK, ambiguous=ambiguous))
    assert times_of(run) == [f"11-03 {time}" for time in expected]
    (found,) = run.manifest["values"]["log"]["t"].values()
    assert found == 4
    assert any("shows twice" in warning for warning in run.manifest["warnings"])


IN_ORDER = {"zone": NEW_YORK, "ambiguous": "in_order"}


def test_three_events_of_the_log_in_order_are_known_at_six(tmp_path: Path) -> None:
    path = autumn(tmp_path)
    source = fk.Source(
        path=str(path), event_time="t",
        columns={"t": {"type": "timestamp", **IN_ORDER, "order_within": []}},
    )  # fmt: skip
    now = pl.DataFrame({"now": [datetime(2024, 11, 3, 6, tzinfo=UTC)]})
    spec = fk.Spec(
        {"log": source, "asked": fk.Source(data=now)},
        fk.Examples("asked", predict_at="now"), {"events": "seen.events_1d"},
        aggregations={
            "seen": {"source": "log", "windows": "1d", "features": {"events": "count()"}},
        },
    )  # fmt: skip
    run = ran(tmp_path, spec)
    assert run.examples().to_polars()["events"].to_list() == [3]


def test_order_is_followed_within_columns_and_within_each_file(tmp_path: Path) -> None:
    both = [line for time in zip(LOG, LOG, strict=True) for line in time]
    lines = ["t,who,n", *(f"2024-11-03 {time},{'ab'[n % 2]},{n}" for n, time in enumerate(both))]
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    expected = ["04:50", "05:10", "05:50", "06:05", "06:55", "07:10"]
    run = ran(tmp_path, spec_of(tmp_path / "one.csv", **IN_ORDER, order_within=["who"]))
    assert times_of(run) == [f"11-03 {time}" for time in expected for _ in "ab"]
    first = written(tmp_path, [f"2024-11-03 {time}" for time in LOG], "part-1.csv")
    text = first.read_text().replace(",", ",1")
    (tmp_path / "part-2.csv").write_text(text.replace("t,1n", "t,n"))
    run = ran(tmp_path, spec_of(tmp_path / "part-*.csv", **IN_ORDER, order_within=[]))
    assert sorted(map(str, times_of(run))) == sorted(f"11-03 {time}" for time in expected * 2)


def test_hourly_rows_show_one_time_twice(tmp_path: Path) -> None:
    path = autumn(tmp_path, ["00:00", "01:00", "01:00", "02:00"])
    run = ran(tmp_path, spec_of(path, **IN_ORDER, order_within=[]))
    assert times_of(run) == ["11-03 04:00", "11-03 05:00", "11-03 06:00", "11-03 07:00"]


def test_rows_that_do_not_go_back_are_taken_as_the_earlier_and_counted(tmp_path: Path) -> None:
    path = autumn(tmp_path, ["00:50", "01:10", "02:10"])
    run = ran(tmp_path, spec_of(path, **IN_ORDER, order_within=[]))
    assert times_of(run)[1] == "11-03 05:10"
    assert [*run.manifest["values"]["log"]["t"].values()] == [1]


def test_rows_that_are_not_in_order_are_refused(tmp_path: Path) -> None:
    spec = spec_of(autumn(tmp_path, LOG[::-1]), **IN_ORDER, order_within=[])
    with pytest.raises(fk.DataError, match="not in the order of time"):
        ran(tmp_path, spec)


@pytest.mark.parametrize("engine", ["beam", "gcp"])
def test_other_engines_refuse_by_name_to_follow_the_order(tmp_path: Path, engine: str) -> None:
    spec = spec_of(autumn(tmp_path), **IN_ORDER, order_within=[])
    with pytest.raises(
        fk.SpecError, match=f"the engine {engine} does not know ambiguous: in_order"
    ):
        fk.plan(spec, engine)
    fk.plan(spec)


def test_in_order_needs_the_columns_of_the_order() -> None:
    with pytest.raises(fk.SpecError, match="in_order needs order_within"):
        fk.Column(ambiguous="in_order")
    with pytest.raises(fk.SpecError, match="order_within belongs to"):
        fk.Column(order_within=["a"])


@pytest.mark.parametrize(("nonexistent", "expected"), [
    ("shift", "03-10 07:00"), ("missing", None), ("refuse", "refused"),
])  # fmt: skip
def test_a_time_that_the_clock_skips_is_refused_shifted_or_missing(
    tmp_path: Path, nonexistent: str, expected: str | None
) -> None:
    path = written(tmp_path, ["2024-03-10 01:59", "2024-03-10 02:30", "2024-03-10 03:00", None])
    spec = spec_of(path, zone=NEW_YORK, nonexistent=nonexistent)
    if expected == "refused":
        with pytest.raises(fk.DataError, match=r"do not exist .* in row 2\)"):
            ran(tmp_path, spec)
        return
    run = ran(tmp_path, spec)
    assert times_of(run) == ["03-10 06:59", expected, "03-10 07:00", None]
    assert [*run.manifest["values"]["log"]["t"].values()] == [1]


@pytest.mark.parametrize(("unit", "texts"), [
    ("s", ["1711852200", "1711852200.5", None]),
    ("ms", ["1711852200000", "1711852200500.0", None]),
    ("us", ["1711852200000000", "1711852200500000", None]),
])  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "texts", "numbers"])
def test_numbers_count_in_the_unit_since_1970(
    tmp_path: Path, unit: str, texts: list[str | None], kind: str
) -> None:
    data: Any = written(tmp_path, texts)
    if kind != "csv":
        data = pl.DataFrame({"t": texts, "n": [0, 1, 2]})
    if kind == "numbers":
        data = data.with_columns(pl.col("t").cast(pl.Float64))
    spec = spec_of(data, unit=unit)
    fk.check(spec)
    micros = ran(tmp_path, spec).examples().to_polars().sort("n")["at"].to_list()
    assert micros == [1711852200_000000, 1711852200_500000, None]


def test_a_csv_of_whole_seconds_is_read_with_its_unit(tmp_path: Path) -> None:
    spec = spec_of(written(tmp_path, ["1711852200", "1711852201"]), unit="s")
    fk.check(spec)
    assert times_of(ran(tmp_path, spec)) == ["03-31 02:30", "03-31 02:30"]


def test_a_time_that_is_no_number_is_refused_where_there_is_a_unit(tmp_path: Path) -> None:
    spec = spec_of(written(tmp_path, ["1711852200", "2024-03-31"]), unit="s")
    for asked in (lambda: fk.check(spec), lambda: ran(tmp_path, spec)):
        with pytest.raises(fk.DataError, match=r"is '2024-03-31' in row 2\).*leave the unit out"):
            asked()


FORMATS = [
    (["31/12/2024", "02/01/2024"], "%d/%m/%Y"),
    (["12/31/2024", "02/01/2024"], "%m/%d/%Y"),
    (["2012/01/01"], "%Y/%m/%d"),
    (["31.12.2024"], "%d.%m.%Y"),
    (["31-Dec-2024"], "%d-%b-%Y"),
    (["31/12/2024 01:05 PM", "01/02/2024 11:30 AM"], "%d/%m/%Y %I:%M %p"),
    (["2012/01/01 10:00:00+01"], "%Y/%m/%d %H:%M:%S%z"),
    (["31.12.24 23:59"], "%d.%m.%y %H:%M"),
    (["20241231"], "%Y%m%d"),
]


@pytest.mark.parametrize(("texts", "form"), FORMATS)
def test_check_hints_the_line_that_reads_the_times(
    tmp_path: Path, texts: list[str], form: str
) -> None:
    path = written(tmp_path, [*texts])
    spec = spec_of(path)
    for asked in (lambda: fk.check(spec), lambda: ran(tmp_path, spec)):
        with pytest.raises(fk.DataError) as caught:
            asked()
        assert form in caught.value.hint
    (line,) = re.findall(r"t: (\{.*?\})", caught.value.hint)
    text = (
        f"sources: {{log: {{path: {path}, columns: {{t: {line}}}}}}}\n"
        "examples: {source: log, keys: n}\nfeatures: {at: \"cast(t, 'int64')\"}\n"
    )
    (tmp_path / "spec.yaml").write_text(text)
    followed = fk.load_spec(tmp_path / "spec.yaml")
    fk.check(followed)
    found = ran(tmp_path, followed).examples().to_polars().sort("n")["at"].to_list()
    # Python needs minutes in an offset, and has one in every text here.
    ended = [text if "%z" in form else f"{text} +00" for text in texts]
    python = form if "%z" in form else f"{form} %z"
    expected = [datetime.strptime(f"{text}00", python) for text in ended]  # noqa: DTZ007
    assert found == [int(at.timestamp()) * 10**6 for at in expected]


def test_the_order_of_day_and_month_is_not_guessed(tmp_path: Path) -> None:
    with pytest.raises(fk.DataError) as caught:
        fk.check(spec_of(written(tmp_path, ["01/02/2024", "03/04/2024"])))
    assert "do not tell whether the day or the month comes first" in caught.value.hint
    assert "%d/%m/%Y" in caught.value.hint
    assert "%m/%d/%Y" in caught.value.hint


def test_an_undeclared_column_of_dates_gets_the_line_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, ["31/12/2024"])
    spec = fk.Spec(
        {"log": fk.Source(path=str(path), event_time="t")}, fk.Examples("log", predict_at="t"),
        {"n": "n"},
    )  # fmt: skip
    with pytest.raises(fk.SpecError, match=r"t: \{type: timestamp, .*%d/%m/%Y"):
        fk.check(spec)


def test_several_formats_are_tried_in_order(tmp_path: Path) -> None:
    path = written(tmp_path, ["31/12/2024 10:00", "2024-12-31 10:00", "1.2.2024 10:00"])
    forms = ["%d/%m/%Y %H:%M", "%Y-%m-%d %H:%M", "%d.%m.%Y %H:%M"]
    run = ran(tmp_path, spec_of(path, format=forms, zone="Europe/Berlin"))
    assert times_of(run) == ["12-31 09:00", "12-31 09:00", "02-01 09:00"]


@pytest.mark.parametrize("text", [
    "2024-12-31 10:00:00+00", "2024-12-31 10:00 UTC", "2024-12-31T05:00:00-05",
    "2024-12-31 10:00:00 +0000", "2024-12-31T10:00:00.000Z",
])  # fmt: skip
def test_iso_times_with_short_offsets_and_utc_are_read(tmp_path: Path, text: str) -> None:
    spec = spec_of(written(tmp_path, [text]))
    fk.check(spec)
    assert times_of(ran(tmp_path, spec)) == ["12-31 10:00"]


@pytest.mark.parametrize(("form", "message"), [
    ("%d/%m", "has not a year"), ("%d/%m/%Q", "%Q is not known"), ("%d/%m/%Y %I:%M", "%I and %p"),
    ("%d/%m/%Y %Z", "%Z is not known"), ("%d/%m/%Y %f", "%f follows a point"),
])  # fmt: skip
def test_a_format_that_cannot_be_read_is_refused(form: str, message: str) -> None:
    with pytest.raises(fk.SpecError, match=re.escape(message)):
        fk.Column(format=form)


def test_a_format_makes_a_timestamp_and_goes_with_no_other_type() -> None:
    assert fk.Column(format="%d/%m/%Y").type == fk.Column("timestamp").type
    with pytest.raises(fk.SpecError, match="format belongs to a timestamp"):
        fk.Column("int64", format="%d/%m/%Y")
    with pytest.raises(fk.SpecError, match="either a format"):
        fk.Column(format="%d/%m/%Y", unit="s")


def parts_of(times: list[str]) -> pl.DataFrame:
    """Return the hours and minutes of clock times of 3 November 2024."""
    return pl.DataFrame({
        "h": [int(time[:2]) for time in times], "m": [int(time[3:]) for time in times],
        "n": range(len(times)),
    })  # fmt: skip


@pytest.mark.parametrize(("ambiguous", "expected"), [
    ("", ["04:50", "05:10", "05:50", "05:05", "05:55", "07:10"]),
    (", ambiguous='latest'", ["04:50", "06:10", "06:50", "06:05", "06:55", "07:10"]),
])  # fmt: skip
def test_make_timestamp_takes_the_time_that_is_meant_and_the_run_counts_the_rows(
    tmp_path: Path, ambiguous: str, expected: list[str]
) -> None:
    made = f"make_timestamp(2024, 11, 3, h, m, zone='{NEW_YORK}'{ambiguous})"
    spec = fk.Spec(
        {"log": fk.Source(data=parts_of(LOG))}, fk.Examples("log", keys="n"),
        {"at": f"cast({made}, 'int64')"},
    )  # fmt: skip
    run = ran(tmp_path, spec)
    assert times_of(run) == [f"11-03 {time}" for time in expected]
    ((text, found),) = run.manifest["values"]["log"].items()
    assert text.startswith("make_timestamp(")
    assert found == {"times that the clock shows twice": 4}
    assert any("shows twice: 4 rows" in warning for warning in run.manifest["warnings"])
    with pytest.raises(fk.SpecError, match="'earliest' or 'latest'"):
        fk.make_timestamp(2024, 1, 1, 1, 1, ambiguous="both")


def in_bigquery(values: list[Any], held: str, **column: Any) -> list[Any]:
    """Read a column of BigQuery as a timestamp."""
    source = fk.Source(columns={"t": fk.Column("timestamp", **column)})
    tree = stored_column("t", TIMESTAMP, "log", source, {"t": held})
    frame = pl.DataFrame({"t": pl.Series(values, dtype=pl.String)})
    stored = f"(SELECT CAST(t AS {held}) AS t FROM stored)"
    found = evaluate(f"SELECT {tree.sql('bigquery')} AS t FROM {stored}", {"stored": frame})
    return [None if at is None else at.strftime("%m-%d %H:%M") for at in found["t"]]


def test_bigquery_places_what_a_clock_showed_as_the_embedded_engine_does() -> None:
    shown = [f"2024-11-03 {time}:00" for time in LOG] + [None]
    earliest = ["04:50", "05:10", "05:50", "05:05", "05:55", "07:10"]
    latest = ["04:50", "06:10", "06:50", "06:05", "06:55", "07:10"]
    for ambiguous, expected in (("earliest", earliest), ("latest", latest)):
        found = in_bigquery(shown, "DATETIME", zone=NEW_YORK, ambiguous=ambiguous)
        assert found == [*(f"11-03 {time}" for time in expected), None]
    with pytest.raises(SqlError, match="column 't' of source 'log': 2024-11-03 01:10:00 is shown"):
        in_bigquery(shown, "DATETIME", zone=NEW_YORK)
    skipped = ["2024-03-10 01:59:00", "2024-03-10 02:30:00"]
    assert in_bigquery(skipped, "DATETIME", zone=NEW_YORK, nonexistent="missing") == [
        "03-10 06:59", None,
    ]  # fmt: skip
    with pytest.raises(SqlError, match="2024-03-10 02:30:00 does not exist"):
        in_bigquery(skipped, "DATETIME", zone=NEW_YORK)
    assert in_bigquery(["1711852200.5", "NaN"], "FLOAT64", unit="s") == ["03-31 02:30", None]


@pytest.mark.parametrize("text", ["2024-01-01 02:00:00+02", "2024-01-01 00:00:00 UTC"])
def test_times_that_say_their_offset_lead_to_a_column_without_a_zone(
    text: str, tmp_path: Path
) -> None:
    def spec(**column: Any) -> fk.Spec:
        rows = pl.DataFrame({"t": [text, text]})
        source = fk.Source(data=rows, columns={"t": fk.Column("timestamp", **column)})
        return fk.Spec({"rows": source}, fk.Examples("rows"), {"hour": "hour(t)"})

    with pytest.raises(fk.DataError, match=r"a zone is declared.*Hint: leave the zone out"):
        fk.check(spec(zone="UTC"))
    made = fk.run(spec(), tmp_path / "run", tensorflow=False)
    assert made.examples().to_polars()["hour"].to_list() == [0, 0]
