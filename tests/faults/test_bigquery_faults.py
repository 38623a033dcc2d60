"""BigQuery that fails in every way it can: each job takes effect once or not at all, one error."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from featurekit.engines.bigquery import aggregates
from featurekit.engines.bigquery.client import Warehouse
from featurekit.engines.bigquery.jobs import Estimate, Result, Statement, estimate, run_statements
from featurekit.engines.bigquery.load import load_table
from featurekit.engines.bigquery.read import read_batches, read_table
from featurekit.engines.bigquery.settings import Settings
from featurekit.engines.bigquery.tables import fingerprint
from featurekit.errors import (
    BudgetError,
    DataError,
    EngineError,
    FeatureKitError,
    SpecError,
    UsageError,
)
from featurekit.opening import open_sources
from featurekit.planner import make_plan
from featurekit.spec.objects import Aggregation, Examples, Source, Spec
from featurekit.spec.table_id import TableId, table_id
from tests.bigquery_server import (
    DATASET,
    PROJECT,
    BigQuery,
    Fault,
    Job,
    bigquery_server,
    column,
    settings,
)

TIMES = 20
"""So often each fault is made, at as many different moments of a run."""

FLIGHTS = pl.DataFrame({"flight": range(8), "delay": [1.0, 2.0, None, 4.0, 5.0, 6.0, 7.0, 8.0]})
LATE = "SELECT * FROM `test-project.work.flights` WHERE delay > @least"
MEANS = "SELECT flight, mean FROM `test-project.work.late`"
STATEMENTS = (
    Statement("late", LATE, {"least": ("FLOAT64", 3.5)}, ("mean", "maximum"), "late", ("flight",)),
    Statement("means", MEANS, {}, ("mean",), "examples", ("flight",), "test-project.work.flights"),
)
LATE_ROWS = [(3, 4.0), (4, 5.0), (5, 6.0), (6, 7.0), (7, 8.0)]
MEAN_ROWS = [(flight, flight / 2) for flight in range(8)]
OLD_ROWS = [(-1, -1.0)]
MEAN_FIELDS = [column("flight"), column("mean", "FLOAT")]


@pytest.fixture
def service() -> Iterator[BigQuery]:
    with bigquery_server() as service:
        prepare(service)
        yield service


def prepare(service: BigQuery) -> None:
    """Teach a service the two queries, and let the destination hold an earlier result."""
    service.answer(LATE, [column("flight"), column("delay", "FLOAT")], LATE_ROWS, size=3_000)
    service.answer(MEANS, MEAN_FIELDS, MEAN_ROWS, size=500)
    service.put("examples", MEAN_FIELDS, OLD_ROWS)


def whole_run(service: BigQuery, **changed: Any) -> list[tuple[Any, ...]]:
    """Load, run two statements, the second on the first one's result, and read it back."""
    with Warehouse(settings(service, **changed)) as warehouse:
        load_table(warehouse, FLIGHTS, "flights", ("mean",))
        run_statements(warehouse, STATEMENTS, fingerprint="inputs of today")
        read = read_table(warehouse, warehouse.settings.table("examples"), ("mean",))
    return list(zip(*read.to_pydict().values(), strict=True))


def requests_of_a_run() -> list[str]:
    with bigquery_server() as service:
        prepare(service)
        assert whole_run(service) == MEAN_ROWS
        return service.log


def positions(number: int) -> list[int]:
    """Return so many different moments of a run, spread over all of it."""
    requests = len(requests_of_a_run())
    assert requests >= number, requests
    return [i * requests // number for i in range(number)]


def assert_once(service: BigQuery) -> None:
    """No job took effect twice, and nothing was paid for twice."""
    assert not [job for job, count in service.effects.items() if count != 1]
    assert not [sql for sql, count in service.paid.items() if count != 1]


def assert_one_clear_error(error: FeatureKitError) -> None:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    assert text.startswith("BigQuery")
    assert error.__cause__ is None


def failure(service: BigQuery, **changed: Any) -> FeatureKitError:
    with pytest.raises(FeatureKitError) as caught:
        whole_run(service, **changed)
    assert_one_clear_error(caught.value)
    return caught.value


# A run without faults.


def test_a_run_loads_estimates_computes_checks_and_replaces(service: BigQuery) -> None:
    said: list[str] = []
    with Warehouse(settings(service, max_bytes=10_000), said.append) as warehouse:
        load_table(warehouse, FLIGHTS, "flights")
        late, means = run_statements(warehouse, STATEMENTS, fingerprint="1")
    assert service.rows("examples") == MEAN_ROWS
    assert (late.rows, late.bytes_billed, late.reused) == (5, 3_000, False)
    assert (means.rows, means.bytes_billed, means.reused) == (8, 500, False)
    assert warehouse.billed == 3_000 + 500 + 2 * 10
    assert (
        "2 statements will read 3,000 bytes of the 10,000 that they may; "
        "not counting tables yet to be made, read by: means"
    ) in said
    assert "means: will read 500 bytes" in said
    kinds = [job["configuration"]["labels"].get("featurekit") for job in service.sent]
    assert kinds == [
        "load", "copy",  # the flights
        None, None,  # dry runs; the second one is refused, as `late` is not there yet
        "query", "check", "copy",  # late
        None, "query", "check", "copy",  # means
    ]  # fmt: skip


def test_every_job_has_labels_a_place_and_every_query_a_limit(service: BigQuery) -> None:
    whole_run(service, max_bytes=10_000)
    left = []
    for job in service.sent:
        config = job["configuration"]
        assert config["labels"]["team"] == "flights"
        assert job["jobReference"]["location"] == "EU"
        if not config.get("dryRun"):
            assert re.fullmatch("[0-9a-f]{32}", config["labels"]["featurekit_hash"])
            assert config["labels"]["featurekit_hash"] in job["jobReference"]["jobId"]
            if "query" in config:
                left.append(int(config["query"]["maximumBytesBilled"]))
    # 10,000 less what was billed before: 3,000 for late, 10 for its check, 500 for means.
    assert left == [10_000, 7_000, 6_990, 6_490]
    assert all(table.expires for name, table in service.tables.items() if "__staging_" in name)


def test_a_result_does_not_expire_with_its_staging_table(service: BigQuery) -> None:
    service.inheriting = True
    assert whole_run(service) == MEAN_ROWS
    expiring = [name for name, table in service.tables.items() if table.expires]
    assert not [name for name in expiring if "__" not in name]
    assert len(expiring) == 5  # three staging tables, two of repeated keys


def test_values_travel_as_parameters(service: BigQuery) -> None:
    whole_run(service)
    (sent, *_) = service.of_kind("query").values()
    assert sent.config["query"]["queryParameters"] == [
        {"name": "least", "parameterType": {"type": "FLOAT64"}, "parameterValue": {"value": 3.5}}
    ]


# Faults that pass.


@pytest.mark.parametrize(
    "action",
    ["429", "503", "html", "reset before", "reset after", "truncated", "cut", "stall before",
     "stall after"],
)  # fmt: skip
def test_a_fault_that_passes_changes_nothing(action: str) -> None:
    changed = {"request_timeout": 0.4} if "stall" in action else {}
    for position in positions(TIMES):
        with bigquery_server() as service:
            prepare(service)
            service.faults.append(Fault(action, skip=position))
            assert whole_run(service, **changed) == MEAN_ROWS, position
            assert service.faults[0].seen > position
            assert_once(service)
            assert len(service.paid) == 4, position  # two queries and their checks


def test_a_fault_of_every_third_request_changes_nothing() -> None:
    for seed in range(TIMES):
        with bigquery_server() as service:
            prepare(service)
            service.faults.append(Fault("reset after", skip=seed, times=None, every=3))
            assert whole_run(service) == MEAN_ROWS
            assert_once(service)


def test_a_job_whose_answer_was_lost_counts_as_this_run_s_own(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    for number in range(TIMES):
        # The first such request is the dry run, the second the job.
        service.faults = [Fault("reset after", "POST .*/jobs$", skip=1)]
        with Warehouse(settings(service)) as warehouse:
            (result,) = run_statements(warehouse, STATEMENTS[:1], fingerprint=str(number))
        assert (result.reused, result.bytes_billed, warehouse.billed) == (False, 3_000, 3_010)
    assert_once(service)


# Faults that stay.


@pytest.mark.parametrize(
    "action",
    ["503", "reset before", "reset after", "truncated", "empty", "stall before", "stall after"],
)
def test_a_fault_that_stays_is_one_error_and_leaves_nothing_half_done(action: str) -> None:
    changed = {"request_timeout": 0.06} if "stall" in action else {}
    for position in positions(TIMES):
        with bigquery_server() as service:
            prepare(service)
            service.faults.append(Fault(action, skip=position, times=None))
            error = failure(service, retry_seconds=0.05, **changed)
            assert isinstance(error, EngineError), (position, error)
            assert error.exit_code == 4
            assert service.rows("examples") in (OLD_ROWS, MEAN_ROWS)
            assert service.rows("flights") in (None, FLIGHTS.rows())
            assert_once(service)
            service.faults.clear()
            assert whole_run(service) == MEAN_ROWS, position
            # What was done and paid for before the error is not done again.
            assert_once(service)


def test_a_service_that_stalls_ends_at_the_deadline_and_names_job_and_features(
    service: BigQuery,
) -> None:
    service.running = float("inf")  # jobs are accepted and never done
    for _ in range(TIMES):
        with (
            Warehouse(settings(service, deadline=0.3)) as warehouse,
            pytest.raises(EngineError) as caught,
        ):
            run_statements(warehouse, STATEMENTS[:1]) if service.rows("flights") else load_table(
                warehouse, FLIGHTS, "flights", ("mean", "maximum")
            )
        assert_one_clear_error(caught.value)
        assert re.match(
            r"BigQuery job featurekit_load_[0-9a-f]{32}_1, load flights "
            r"\(features mean, maximum\): the run's 0.3 s are over. Hint: a job that was started",
            str(caught.value),
        )
    assert len(service.of_kind("load")) == 1
    assert not service.effects
    service.running = 1
    for job in service.jobs.values():
        job.polls = 1
    assert whole_run(service) == MEAN_ROWS
    assert_once(service)


# Repetition.


def test_a_repeat_pays_nothing_and_does_nothing(service: BigQuery) -> None:
    whole_run(service)
    effects = dict(service.effects)
    for _ in range(TIMES):
        assert whole_run(service) == MEAN_ROWS
        assert dict(service.effects) == effects


def test_other_inputs_run_again(service: BigQuery) -> None:
    with Warehouse(settings(service)) as warehouse:
        load_table(warehouse, FLIGHTS, "flights")
        for number in range(3):
            run_statements(warehouse, STATEMENTS, fingerprint=str(number))
    assert len(service.of_kind("query")) == 6


def test_two_runs_at_once_share_one_job(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    service.running = 3

    def run(number: int) -> Result:
        with Warehouse(settings(service)) as warehouse:
            (result,) = run_statements(warehouse, STATEMENTS[:1], fingerprint=str(number))
            return result

    for number in range(TIMES):
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(run, [number, number]))
        assert [result.rows for result in results] == [5, 5]
        assert sorted(result.bytes_billed for result in results) == [0, 3_000]
        assert len(service.of_kind("query")) == number + 1
    assert_once(service)


def test_a_table_that_expired_is_made_again_under_the_next_number(service: BigQuery) -> None:
    whole_run(service)
    for attempt in range(2, TIMES + 2):
        assert len(service.expire("late")) == 2  # the result and its staging table
        assert whole_run(service) == MEAN_ROWS
        jobs = [job for job in service.of_kind("query") if job.endswith(f"_{attempt}")]
        assert len(jobs) == 1, attempt
        assert service.effects[jobs[0]] == 1
    # The other statement, whose result stood, was not run again.
    assert len(service.of_kind("query")) == 2 + TIMES


def test_a_result_that_stands_needs_no_staging_table(service: BigQuery) -> None:
    whole_run(service)
    assert len(service.expire("__staging_")) == 3  # flights, late and examples
    assert whole_run(service) == MEAN_ROWS
    assert_once(service)


def test_a_result_that_another_program_overwrote_is_put_in_place_again(service: BigQuery) -> None:
    whole_run(service)
    for _ in range(TIMES):
        service.put("examples", MEAN_FIELDS, OLD_ROWS)
        assert whole_run(service) == MEAN_ROWS
        assert_once(service)


def test_a_job_of_somebody_else_with_the_same_id_is_not_taken(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    digest = STATEMENTS[0].digest(TableId(PROJECT, DATASET, "late"), "")
    other = {"labels": {"featurekit": "other", "featurekit_hash": "0" * 32}, "query": {}}
    service.jobs[f"featurekit_query_{digest}_1"] = Job(other, done=True)
    service.put(f"late__staging_{digest}", MEAN_FIELDS, OLD_ROWS)
    with Warehouse(settings(service)) as warehouse:
        (result,) = run_statements(warehouse, STATEMENTS[:1])
    assert result.job_id == f"featurekit_query_{digest}_2"
    assert service.rows("late") == LATE_ROWS


def test_a_job_that_is_shown_to_its_owner_alone_is_done_again(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, MEAN_ROWS)

    def made() -> list[tuple[Any, ...]] | None:
        with Warehouse(settings(service)) as warehouse:
            run_statements(warehouse, STATEMENTS)
        return service.rows("examples")

    assert made() == MEAN_ROWS
    theirs = list(service.jobs)
    hidden = Fault(
        "refuse", f"GET .*/({'|'.join(theirs)})$", times=None, status=403, reason="accessDenied",
        message="Access Denied: Job: User does not have bigquery.jobs.get permission for job",
    )  # fmt: skip
    service.faults.append(hidden)
    assert made() == MEAN_ROWS
    assert len(service.jobs) == 2 * len(theirs)
    assert set(service.effects.values()) == {1}
    # A refusal of another kind is no sign that the job is somebody else's.
    hidden.reason = "quotaExceeded"
    with pytest.raises(EngineError, match="a quota is used up"):
        made()


def test_what_leaves_no_trace_of_a_write_is_read_again_in_every_run(service: BigQuery) -> None:
    def described() -> str:
        with Warehouse(settings(service)) as warehouse:
            found = fingerprint(warehouse, warehouse.settings.table("examples"))
            assert found == fingerprint(warehouse, warehouse.settings.table("examples"))
        return found

    table = service.tables[f"{PROJECT}.{DATASET}.examples"]
    assert described() == described()
    for table.kind in ("VIEW", "MATERIALIZED_VIEW", "EXTERNAL"):
        assert described() != described()
    table.kind, table.streaming = "TABLE", True
    assert described() != described()


def test_data_that_is_loaded_again_a_day_later_is_the_same_data(
    service: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def end(_: Warehouse, made: Sequence[Statement], *, fingerprint: str) -> None:
        asked.append([each.digest(table_id("p.d.t"), fingerprint) for each in made])
        raise StopIteration

    monkeypatch.setattr(aggregates, "run_statements", end)
    day = pl.Series([datetime(2024, 1, 1 + day, tzinfo=UTC) for day in range(FLIGHTS.height)])
    spec = Spec(
        sources={"flights": Source(data=FLIGHTS.with_columns(day=day), event_time="day")},
        examples=Examples("flights", keys="flight", predict_at="day"),
        aggregations={"all": Aggregation("flights", windows=["7d"], features={"n": "count()"})},
        features={"flights": "all.n_7d"},
    )
    resolved, tables = open_sources(spec)
    for _ in range(3):
        with Warehouse(settings(service)) as warehouse, pytest.raises(StopIteration):
            aggregates.compute(make_plan(resolved), warehouse, tables["flights"], tables, load=True)
        assert service.expire("__staging_")
    assert len(service.of_kind("load")) == 6, "each day's table is loaded by a job of its own"
    assert asked[0] == asked[1] == asked[2]


def test_a_job_that_the_service_failed_is_run_again_but_not_for_ever(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    passing = {"reason": "backendError", "message": "Error encountered during execution."}
    for number in range(TIMES):
        with Warehouse(settings(service, job_attempts=3)) as warehouse:
            service.failing = [passing, passing]
            (result,) = run_statements(warehouse, STATEMENTS[:1], fingerprint=f"a{number}")
            assert result.job_id.endswith("_3")
            service.failing = [passing] * 3
            with pytest.raises(EngineError, match="Error encountered during execution"):
                run_statements(warehouse, STATEMENTS[:1], fingerprint=f"b{number}")
    assert len(service.paid) == 2 * TIMES  # the statement, and the check of its result
    assert max(service.effects.values()) == 1


# The budget.


def test_an_estimate_over_the_budget_runs_nothing(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    for number in range(TIMES):
        with Warehouse(settings(service, max_bytes=2_980 + number)) as warehouse:
            with pytest.raises(BudgetError) as caught:
                run_statements(warehouse, STATEMENTS)
            assert caught.value.exit_code == 5
            assert_one_clear_error(caught.value)
            assert f"would read 3,000 bytes, and the budget is {2_980 + number:,}" in str(
                caught.value
            )
    assert not service.jobs
    assert service.rows("late") is None
    assert service.rows("examples") == OLD_ROWS


def test_all_that_is_read_beside_tables_yet_to_be_made_is_estimated_before_anything_runs(
    service: BigQuery,
) -> None:
    service.telling = True
    service.put("flights", MEAN_FIELDS, [])
    late = "`test-project.work.late`"
    statements = (
        STATEMENTS[0],
        Statement("joined", f"SELECT * FROM {late} JOIN `test-project.work.flights`",
                  destination="joined"),
        Statement("last", "SELECT * FROM `test-project.work.joined`", destination="last"),
    )  # fmt: skip
    number = "SAFE_CAST(CAST(RAND() AS STRING) AS INT64)"
    for_late = f"(SELECT {number} AS `flight`, {number.replace('INT', 'FLOAT')} AS `delay`)"
    joined = statements[1].sql.replace(late, for_late)
    service.answer(joined, [column("days", mode="REPEATED")], [], 7_000)
    service.answer(f"SELECT * FROM (SELECT [{number}] AS `days`)", [], [], 0)
    with Warehouse(settings(service, max_bytes=9_999)) as warehouse:
        assert estimate(warehouse, statements) == Estimate(10_000, ("joined", "last"))
        with pytest.raises(BudgetError, match="would read 10,000 bytes, and the budget is 9,999"):
            run_statements(warehouse, statements)
    assert not service.jobs


def test_a_statement_without_an_estimate_is_estimated_before_it_runs(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    with Warehouse(settings(service, max_bytes=3_400)) as warehouse:
        assert estimate(warehouse, STATEMENTS) == Estimate(3_000, ("means",))
        with pytest.raises(BudgetError, match="it would read 500 bytes, and 390 of the run's"):
            run_statements(warehouse, STATEMENTS)
    assert list(service.paid) == [
        job.config["query"]["query"] for job in service.jobs.values() if "query" in job.config
    ]
    assert MEANS not in "".join(service.paid)
    assert service.rows("examples") == OLD_ROWS


def test_a_job_that_reads_more_than_estimated_is_stopped_by_the_service(service: BigQuery) -> None:
    service.put("flights", MEAN_FIELDS, [])
    with Warehouse(settings(service, max_bytes=3_400)) as warehouse:
        estimated, service.answers[LATE].size = estimate(warehouse, STATEMENTS[:1]), 9_000
        assert estimated == Estimate(3_000)
        service.faults.append(Fault("refuse", skip=1, times=0))
        with pytest.raises(BudgetError, match=r"9,000|9000"):
            run_statements(warehouse, STATEMENTS[:1])
    assert not service.paid


# The checks.


def test_keys_that_repeat_are_refused_before_the_destination_is_touched(service: BigQuery) -> None:
    rows = [*MEAN_ROWS[:6], (3, 0.0), (4, 0.0)]
    service.answers[MEANS].rows = rows
    error = failure(service)
    assert isinstance(error, DataError)
    assert "2 values of the key (flight) occur in more than one row" in str(error)
    assert "(feature mean)" in str(error)
    assert service.rows("examples") == OLD_ROWS


@pytest.mark.parametrize("rows", [[], MEAN_ROWS[:7], [*MEAN_ROWS, (8, 4.0)]])
def test_lost_and_added_rows_are_refused_before_the_destination_is_touched(
    service: BigQuery, rows: list[Any]
) -> None:
    service.answers[MEANS].rows = rows
    error = failure(service)
    assert error.exit_code == 4
    assert f"the result has {len(rows)} rows, and test-project.work.flights has 8" in str(error)
    assert service.rows("examples") == OLD_ROWS


# Reading.


@pytest.mark.parametrize("action", ["lost token", "lost row"])
def test_a_page_that_is_lost_is_read_again(service: BigQuery, action: str) -> None:
    service.put("examples", MEAN_FIELDS, [(i, i / 2) for i in range(60)])
    table = TableId(PROJECT, DATASET, "examples")
    for page in range(TIMES):
        last = action == "lost token" and page == TIMES - 1  # the last page has no token
        service.faults = [Fault(action, "/data$", skip=page)]
        said: list[str] = []
        with Warehouse(settings(service), said.append) as warehouse:
            read = read_table(warehouse, table)
        assert read["flight"].to_pylist() == list(range(60))
        assert len(said) == (0 if last else 1), page


@pytest.mark.parametrize("action", ["lost token", "lost row"])
def test_a_table_is_never_shorter_than_it_is(service: BigQuery, action: str) -> None:
    service.put("examples", MEAN_FIELDS, [(i, i / 2) for i in range(60)])
    table = TableId(PROJECT, DATASET, "examples")
    for page in range(TIMES - 1):
        service.faults = [Fault(action, "/data$", skip=page, times=None)]
        with Warehouse(settings(service)) as warehouse:
            with pytest.raises(EngineError, match=r"[0-9]+ rows arrived of 60") as caught:
                read_table(warehouse, table, ("mean",))
            assert_one_clear_error(caught.value)
            with pytest.raises(EngineError, match=r"[0-9]+ rows arrived of 60"):
                list(read_batches(warehouse, table))


def test_a_table_that_is_replaced_while_it_is_read_is_read_again(service: BigQuery) -> None:
    table = TableId(PROJECT, DATASET, "examples")
    service.put("examples", MEAN_FIELDS, [(i, 0.0) for i in range(60)])
    new = [(i, 1.0) for i in range(60)]
    with Warehouse(settings(service)) as warehouse:
        batches = read_batches(warehouse, table)
        next(batches)
        service.put("examples", MEAN_FIELDS, new)
        with pytest.raises(EngineError, match="was written to while it was read"):
            list(batches)
        assert read_table(warehouse, table)["mean"].to_pylist() == [1.0] * 60


# What the service says.


@pytest.mark.parametrize(
    ("status", "reason", "message", "kind", "words"),
    [
        (403, "accessDenied", "Access Denied: Project x: User does not have bigquery.jobs.create",
         EngineError, "access was denied.*Job User"),
        (403, "quotaExceeded", "Quota exceeded: too many queries", EngineError, "a quota is used"),
        (403, "billingNotEnabled", "Billing has not been enabled", EngineError, "access was den"),
        (404, "notFound", "Not found: Table p:d.flights was not found", DataError,
         "does not have it: Not found: Table p:d.flights"),
        (400, "invalidQuery", "Unrecognized name: delya at [1:8]", DataError,
         "does not have the column: Unrecognized name: delya"),
        (400, "invalidQuery", "No matching signature for operator + for STRING, INT64", DataError,
         "not of the type"),
        (400, "invalidQuery", "Syntax error: Unexpected end", EngineError, "report this with"),
        (400, "resourcesExceeded", "Resources exceeded during query execution", EngineError,
         "too much for one job"),
        (400, "invalidQuery", "too many subqueries or query is too complex", EngineError,
         "too much for one job"),
        (400, "bytesBilledLimitExceeded", "Query exceeded limit for bytes billed", BudgetError,
         "more than it may"),
        (401, "authError", "Invalid Credentials", EngineError, "credentials were not accepted"),
        (400, "invalid", "Something new", EngineError, "BigQuery refused: Something new"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("late", [False, True])
def test_what_the_service_refuses_is_one_error_of_the_right_kind(
    service: BigQuery,
    status: int,
    reason: str,
    message: str,
    kind: type[FeatureKitError],
    words: str,
    late: bool,
) -> None:
    service.put("flights", MEAN_FIELDS, [])
    if late and status != 401:  # the job is accepted and fails
        service.failing = [{"reason": reason, "message": f"{message}\nand more"}]
        service.faults = []
    else:
        service.faults = [
            Fault("refuse", "POST .*/jobs$", times=None, status=status, reason=reason,
                  message=message)
        ]  # fmt: skip
    with Warehouse(settings(service)) as warehouse, pytest.raises(kind, match=words) as caught:
        run_statements(warehouse, STATEMENTS[:1])
    assert_one_clear_error(caught.value)
    assert type(caught.value) is kind
    assert "(features mean, maximum)" in str(caught.value)
    assert ("BigQuery job featurekit_query_" in str(caught.value)) is bool(service.jobs)
    assert service.rows("late") is None
    assert not service.effects


def test_a_dataset_that_is_not_there_is_one_error(service: BigQuery) -> None:
    error = failure(service, dataset="nowhere")
    assert isinstance(error, DataError)
    assert str(error).startswith("BigQuery dataset test-project.nowhere: BigQuery does not have")


def test_a_token_is_never_told(service: BigQuery, caplog: pytest.LogCaptureFixture) -> None:
    from google.oauth2.credentials import Credentials

    caplog.set_level(logging.DEBUG)
    token = "ya29.SecretOfTheUser-1"
    service.put("flights", MEAN_FIELDS, [])
    for status, reason in [(401, "authError"), (403, "accessDenied"), (400, "invalid")]:
        service.faults = [
            Fault("refuse", "POST", times=None, status=status, reason=reason,
                  message=f"the token {token} is bad, as is Authorization: Bearer {token}")
        ]  # fmt: skip
        said: list[str] = []
        made = settings(service, credentials=Credentials(token=token))
        with Warehouse(made, said.append) as warehouse, pytest.raises(EngineError) as caught:
            run_statements(warehouse, STATEMENTS[:1])
        told = f"{caught.value} {caught.value.to_dict()} {said} {made!r}"
        assert "SecretOfTheUser" not in told
    ours = [record.getMessage() for record in caplog.records if "featurekit" in record.name]
    assert "SecretOfTheUser" not in "".join(ours)


def test_missing_credentials_are_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(EngineError, match="no Google credentials were found") as caught:
        Warehouse(Settings(PROJECT, DATASET))
    assert caught.value.exit_code == 4
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "no.json"))
    with pytest.raises(EngineError, match="no Google credentials were found"):
        Warehouse(Settings(PROJECT, DATASET))


# Interruption.


def test_an_interruption_cancels_the_running_job(
    service: BigQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.running = float("inf")
    service.put("flights", MEAN_FIELDS, [])
    for number in range(TIMES):
        waits = iter([*[None] * number, KeyboardInterrupt])

        def wait(_: float, waits: Iterator[Any] = waits) -> None:
            if kind := next(waits):
                raise kind

        with Warehouse(settings(service)) as warehouse, monkeypatch.context() as patched:
            patched.setattr(time, "sleep", wait)
            with pytest.raises(KeyboardInterrupt):
                run_statements(warehouse, STATEMENTS[:1], fingerprint=str(number))
        job = list(service.jobs.values())[number]
        assert job.error == {"reason": "stopped", "message": "Job was cancelled"}
    assert sum(line.endswith("/cancel") for line in service.log) == TIMES
    assert not service.effects
    assert service.rows("late") is None
    # A cancelled job is run again under the next number.
    service.running = 1
    with Warehouse(settings(service)) as warehouse:
        (result,) = run_statements(warehouse, STATEMENTS[:1], fingerprint="0")
    assert result.job_id.endswith("_2")


# Names, settings and data.


@pytest.mark.parametrize(
    "name",
    ["flights", "a.flights", "p..flights", "p.d.", "p.d.e.flights", "p.d.flights; DROP TABLE x",
     "p.d.a`b", "p.d-e.flights", "P.d.flights", "p.d.events_*", "p.d.flights$20240101", "",
     f"p.d.{'x' * 1025}"],
)  # fmt: skip
def test_a_name_that_is_not_a_table_id_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="is not a table id") as caught:
        table_id(name)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("destination", ["", "a.b", "a`b", "a;b", "x" * 1025])
def test_a_statement_with_a_bad_destination_is_refused(destination: str) -> None:
    with pytest.raises(SpecError, match="is not a table id"):
        Statement("s", "SELECT 1", destination=destination)


@pytest.mark.parametrize("key", ["a b", "a`", "1a", ""])
def test_a_statement_with_a_bad_key_is_refused(key: str) -> None:
    with pytest.raises(SpecError, match="is not a column name"):
        Statement("s", "SELECT 1", destination="d", keys=(key,))


@pytest.mark.parametrize(
    "changed",
    [{"max_bytes": 0}, {"deadline": -1.0}, {"request_timeout": 0}, {"max_bytes": float("nan")},
     {"labels": {"Team": "x"}}, {"labels": {"team": "X"}}, {"labels": {"featurekit_hash": "x"}},
     {"labels": {"t" * 64: "x"}}, {"job_attempts": 0}, {"max_bytes": True},
     {"max_bytes": "5"}, {"max_bytes": 1e10}, {"staging_hours": 1.5}, {"labels": {"team": 5}},
     {"labels": {5: "x"}}],
)  # fmt: skip
def test_a_bad_setting_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Settings(PROJECT, DATASET, **changed)


@pytest.mark.parametrize(("project", "dataset"), [("a b", "d"), ("p", "a-b"), ("p", "x.y.z; ")])
def test_a_bad_dataset_is_refused(project: str, dataset: str) -> None:
    with pytest.raises(SpecError, match="is not a dataset"):
        Settings(project, dataset)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"a b": [1]}, "'a b' is not a column name"),
        ({"a": [1], "A": [2]}, "'A' occurs twice"),
        ({"a": [{"b": 1}]}, "'a' is a Struct.* no BigQuery type"),
        ({"a": [[[1]]]}, "'a' is a List.* no BigQuery type"),
        ({"a": pl.Series([0], dtype=pl.Datetime("us"))}, "'a' is a Datetime.*give times a zone"),
        ({"a": pl.Series([2**63], dtype=pl.UInt64)}, "cannot be read"),
    ],
)
def test_data_that_bigquery_cannot_hold_is_refused_before_anything_is_sent(
    service: BigQuery, data: dict[str, Any], words: str
) -> None:
    with Warehouse(settings(service)) as warehouse, pytest.raises(DataError, match=words):
        load_table(warehouse, pl.DataFrame(data), "bad")
    assert not service.jobs
    assert not any("__staging_" in name for name in service.tables)
