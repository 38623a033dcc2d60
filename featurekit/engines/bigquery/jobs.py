"""Running SQL in BigQuery: estimated first, paid for once, checked, and put in place whole.

Each statement goes through the same steps: a job writes its result into a staging table that
expires by itself; the number of rows and the uniqueness of the keys are checked there; a copy job
then replaces the destination in one step. Until that moment the destination is untouched.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from featurekit.engines.bigquery.client import Task, Warehouse
from featurekit.engines.bigquery.columns import column, standard_type
from featurekit.engines.bigquery.failures import Unusable, place, translated
from featurekit.engines.bigquery.rows import select
from featurekit.engines.bigquery.settings import Settings
from featurekit.engines.bigquery.tables import (
    content_hash,
    make_table,
    put_in_place,
    repeated_keys,
    row_count,
    staging_table,
    unchanged,
)
from featurekit.errors import BudgetError, DataError, EngineError, SpecError
from featurekit.spec.table_id import TableId, column_problem, table_id
from featurekit.transforms.sql import exp

__all__ = [
    "Estimate",
    "Result",
    "Settings",
    "Statement",
    "estimate",
    "passing_copy",
    "run_statements",
]

_ARRAY = re.compile(r"ARRAY<(\w+)>")


@dataclass(frozen=True)
class Statement:
    """One query, and the table that its result becomes.

    Args:
        name: What it computes, for messages.
        sql: A single GoogleSQL query, with named parameters (`@name`) for values.
        parameters: The BigQuery type, such as `INT64` or `ARRAY<STRING>`, and the value of each.
        features: The features that need it.
        destination: The table within the run's dataset that it replaces.
        keys: The columns whose values together are different in every row of the result.
        rows_of: A table, `project.dataset.table`, that has as many rows as the result.

    Raises:
        SpecError: The destination, a key or `rows_of` is not a name.
    """

    name: str
    sql: str
    parameters: Mapping[str, tuple[str, Any]] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    destination: str = ""
    keys: tuple[str, ...] = ()
    rows_of: str | None = None

    def __post_init__(self) -> None:
        TableId("project", "dataset", self.destination)
        if self.keys and (problem := column_problem(list(self.keys))):
            raise SpecError(f"statement {self.name!r}: key {problem}")
        if self.rows_of is not None:
            table_id(self.rows_of)

    def query_parameters(self) -> list[Any]:
        """Return the parameters as the client's objects."""
        from google.cloud import bigquery

        made: list[Any] = []
        for name, (kind, value) in sorted(self.parameters.items()):
            array = _ARRAY.fullmatch(kind)
            if array:
                made.append(bigquery.ArrayQueryParameter(name, array[1], list(value)))
            else:
                made.append(bigquery.ScalarQueryParameter(name, kind, value))
        return made

    def digest(self, destination: TableId, fingerprint: str) -> str:
        """Return the hash of all that decides the result.

        Args:
            destination: The table that the result becomes.
            fingerprint: Describes the data that the query reads.
        """
        parameters = [each.to_api_repr() for each in self.query_parameters()]
        return content_hash([self.sql, parameters, str(destination), fingerprint])


@dataclass(frozen=True)
class Estimate:
    """What a run is going to read.

    Args:
        bytes: The sum over the statements, without what they read of tables that earlier ones are
            yet to make.
        unknown: The names of those that read such a table. Each is estimated again right before
            it runs.
    """

    bytes: int
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A table that is in place.

    Args:
        name: The statement's name.
        table: The table.
        rows: How many rows it has.
        job_id: The job that computed it, or copied it there where that was done before.
        bytes_billed: What that job was billed for in this run; 0 for one that an earlier run paid.
        reused: Whether an earlier run computed it.
    """

    name: str
    table: TableId
    rows: int
    job_id: str
    bytes_billed: int
    reused: bool


def estimate(warehouse: Warehouse, statements: Sequence[Statement]) -> Estimate:
    """Let BigQuery say what the statements are going to read, without running them.

    Raises:
        FeatureKitError: BigQuery refuses a statement.
    """
    total, unknown, made = 0, list[str](), dict[str, str]()
    for statement in statements:
        found = _dry_run(warehouse, statement, made)
        if not found.whole:
            unknown.append(statement.name)
        total += found.bytes
        made[str(warehouse.settings.table(statement.destination))] = found.stand_in
    return Estimate(total, tuple(unknown))


def run_statements(
    warehouse: Warehouse, statements: Sequence[Statement], *, fingerprint: str = ""
) -> tuple[Result, ...]:
    """Run statements in their order, each once, and put their results in place.

    What an earlier run did for the same SQL, parameters, destination and fingerprint is taken
    over, as long as the tables are there.

    Args:
        warehouse: The connection, with its deadline and budget.
        statements: The queries; one may read the destination of another before it.
        fingerprint: Describes the data that they read, see `tables.fingerprint`. With another
            fingerprint everything runs again.

    Returns:
        What is in place, in the order of the statements.

    Raises:
        BudgetError: The estimate is over the budget, and nothing has run; or a statement is over
            it with the tables that earlier ones made.
        DataError: A table or column does not exist, or the keys are not unique.
        EngineError: A job failed, the service did not answer in time, or rows were lost.
    """
    expected = estimate(warehouse, statements)
    limit = warehouse.settings.max_bytes
    unknown = f"; not counting tables yet to be made, read by: {', '.join(expected.unknown)}"
    warehouse.tell(
        f"{len(statements)} statements will read {expected.bytes:,} bytes of the {limit:,} that "
        f"they may{unknown if expected.unknown else ''}"
    )
    if expected.bytes > limit:
        raise BudgetError(
            f"the statements would read {expected.bytes:,} bytes, and the budget is {limit:,}",
            where=place("BigQuery", [name for each in statements for name in each.features]),
            hint="allow more bytes, or narrow the dates",
        )
    return tuple(
        _run(warehouse, each, fingerprint, each.name in expected.unknown) for each in statements
    )


def passing_copy(warehouse: Warehouse, table: TableId, columns: Sequence[str]) -> TableId:
    """Have some columns of a view, or of a table that is being written to, stand still.

    Returns:
        A table for this run alone, which expires by itself.

    Raises:
        BudgetError: It would read more than the run may; nothing has run.
        EngineError: The job failed, or the service did not answer in time.
    """
    sql = select(str(table), {name: column(name) for name in columns}).sql("bigquery")
    digest = content_hash([sql, warehouse.run])
    statement = Statement(f"rows of {table}", sql, destination=f"rows__{digest}")
    _check_budget(warehouse, statement)
    made = warehouse.settings.table(statement.destination)
    make_table(warehouse, Task("query", statement.name, digest), sql, made)
    return made


def _run(warehouse: Warehouse, statement: Statement, fingerprint: str, unknown: bool) -> Result:
    destination = warehouse.settings.table(statement.destination)
    digest = statement.digest(destination, fingerprint)
    copying = Task("copy", statement.name, digest, statement.features)
    there = warehouse.earlier(copying, lambda job: unchanged(warehouse, destination, job))
    if there is not None:
        warehouse.tell(f"{statement.name}: {destination} is in place from an earlier run")
        rows = row_count(warehouse, destination, statement.features)
        return Result(statement.name, destination, rows, there.job.job_id, 0, True)
    staging = staging_table(warehouse, statement.destination, digest)
    task = Task("query", statement.name, digest, statement.features)
    if unknown:
        _check_budget(warehouse, statement)
    warehouse.tell(f"{statement.name}: running")
    done = make_table(warehouse, task, statement.sql, staging, statement.query_parameters())
    rows = _check(warehouse, statement, task, staging, done.job.job_id)
    put_in_place(warehouse, copying, staging, destination)
    billed = 0 if done.reused else int(done.job.total_bytes_billed or 0)
    warehouse.tell(f"{statement.name}: {rows:,} rows in {destination}, {billed:,} bytes billed")
    return Result(statement.name, destination, rows, done.job.job_id, billed, done.reused)


@dataclass(frozen=True)
class _DryRun:
    """What BigQuery says of a statement without running it.

    Args:
        bytes: What it is going to read.
        stand_in: A subquery with the columns of its result; empty where they are not known.
        whole: Whether the bytes are all of it.
    """

    bytes: int = 0
    stand_in: str = ""
    whole: bool = False


def _dry_run(warehouse: Warehouse, statement: Statement, made: Mapping[str, str]) -> _DryRun:
    """Estimate a statement.

    Args:
        warehouse: The connection.
        statement: The statement.
        made: The tables that earlier statements make, with what stands in for each of them until
            it is there.
    """
    from google.api_core.exceptions import NotFound

    where = place(f"BigQuery, dry run of {statement.name}", statement.features)
    missing = [name for name in made if f"`{name}`" in statement.sql]
    sql = statement.sql
    for name in missing:
        sql = sql.replace(f"`{name}`", made[name] or f"`{name}`")
    for text in dict.fromkeys([statement.sql, sql]):
        try:
            found = _ask(warehouse, statement, text, where, (NotFound,) if missing else ())
        except NotFound as error:
            # The service writes project:dataset.table or project.dataset.table.
            said = str(error).replace(":", ".")
            if not any(name.replace(":", ".") in said for name in missing):
                raise translated(error, where) from None
        else:
            return replace(found, whole=text == statement.sql)
    return _DryRun()


def _ask(
    warehouse: Warehouse,
    statement: Statement,
    sql: str,
    where: str,
    expected: tuple[type[Exception], ...],
) -> _DryRun:
    """Send a statement for an estimate."""
    from google.cloud import bigquery

    config = bigquery.QueryJobConfig(
        query_parameters=statement.query_parameters(), dry_run=True, use_query_cache=False,
        labels=dict(warehouse.settings.labels),
    )  # fmt: skip
    location = warehouse.location

    def ask(timeout: float) -> _DryRun:
        job = warehouse.client.query(
            sql, job_config=config, location=location, retry=None, timeout=timeout, job_retry=None
        )
        if job.total_bytes_processed is None:
            raise Unusable("the answer to a dry run has no estimate")
        return _DryRun(int(job.total_bytes_processed), _stand_in(job.schema or []))

    return warehouse.call(where, ask, expected=expected)


def _stand_in(schema: Sequence[Any]) -> str:
    """Return a subquery with some columns, for dry runs: what it makes could be anything."""
    if not schema:
        return ""
    columns = []
    for entry in schema:
        # No constant: of a query over nothing but nulls one could know that it reads nothing.
        # And nothing that fails: there are services that run what they estimate.
        text = exp.cast(exp.Rand(), "STRING")
        of = exp.DataType.build(standard_type(entry.field_type), dialect="bigquery")
        value = exp.TryCast(this=text, to=of)
        value = exp.array(value) if entry.mode == "REPEATED" else value
        columns.append(exp.alias_(value, entry.name, quoted=True))
    return f"({exp.select(*columns).sql('bigquery')})"


def _check_budget(warehouse: Warehouse, statement: Statement) -> None:
    """Estimate a statement whose tables are there by now, and refuse it if it is too much."""
    size = _dry_run(warehouse, statement, {}).bytes
    warehouse.tell(f"{statement.name}: will read {size:,} bytes")
    if size > warehouse.bytes_left:
        raise BudgetError(
            f"it would read {size:,} bytes, and {warehouse.bytes_left:,} of the run's "
            f"{warehouse.settings.max_bytes:,} are left",
            where=place(f"BigQuery, {statement.name}", statement.features),
            hint="allow more bytes; what has finished is not paid for twice",
        )


def _check(
    warehouse: Warehouse, statement: Statement, task: Task, staging: TableId, job_id: str
) -> int:
    """Return the number of rows of a result, after checking it and the keys."""
    where = task.where(job_id)
    rows = row_count(warehouse, staging, statement.features)
    if statement.rows_of is not None:
        wanted = row_count(warehouse, table_id(statement.rows_of), statement.features)
        if rows != wanted:
            raise EngineError(
                f"the result has {rows:,} rows, and {statement.rows_of} has {wanted:,}",
                where=where,
                hint="was the table written to meanwhile? If not, please report this with the spec",
            )
    if statement.keys:
        repeated, seen = repeated_keys(warehouse, staging, statement.keys, job_id, task)
        if repeated:
            raise DataError(
                f"{repeated:,} values of the key ({', '.join(statement.keys)}) occur in more than "
                "one row of the result",
                where=where,
                hint=f"make the rows unique by these columns; {seen} lists the repeated ones",
            )
    return rows
