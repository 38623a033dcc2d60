"""A scripted BigQuery: the few REST calls that FeatureKit makes, real state, and faults on demand.

It holds tables and jobs and counts how often each job took effect. It knows the SQL that it is
told about (`answer`), and the few statements that FeatureKit writes itself.
"""

from __future__ import annotations

import io
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyarrow.parquet as pq

from featurekit.engines.bigquery.settings import Settings

PROJECT, DATASET, LOCATION = "test-project", "work", "EU"

Json = dict[str, Any]


@dataclass
class Fault:
    """What goes wrong with some requests.

    Args:
        action: `429`, `503`, `html` (a proxy's page), `reset before` and `reset after` the request
            is accepted, `stall before` and `stall after`, `truncated` JSON, a body `cut` short of
            its announced length, `empty` JSON, or `lost token`, `lost row`, or `refuse`.
        matching: Only requests whose `METHOD path` this pattern finds.
        skip: So many of them pass first.
        times: So many then fail; None for all.
        every: Of those that fail, only every second, third, ...
        status: The HTTP status of `refuse`, and with it `reason` and `message`.
    """

    action: str
    matching: str = ""
    skip: int = 0
    times: int | None = 1
    every: int = 1
    status: int = 400
    reason: str = "invalid"
    message: str = ""
    seen: int = 0

    def hits(self, line: str) -> bool:
        if not re.search(self.matching, line):
            return False
        self.seen += 1
        number = self.seen - self.skip
        within = number > 0 and (self.times is None or number <= self.times)
        return within and (number - 1) % self.every == 0


@dataclass
class Table:
    fields: list[Json]
    rows: list[tuple[Any, ...]]
    created: int
    modified: int
    expires: int | None = None
    kind: str = "TABLE"
    streaming: bool = False


@dataclass
class Answer:
    """What a query gives: its columns, its rows, and the bytes it reads."""

    fields: list[Json]
    rows: list[tuple[Any, ...]]
    size: int = 20_000_000


@dataclass
class Job:
    config: Json
    content: bytes = b""
    polls: float = 0
    error: Json | None = None
    done: bool = False
    started: int = 0
    ended: int = 0
    billed: int = 0


class Refused(Exception):
    """The answer is an error."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status, self.reason, self.message = status, reason, message
        super().__init__(message)


def column(name: str, kind: str = "INTEGER", mode: str = "NULLABLE") -> Json:
    return {"name": name, "type": kind, "mode": mode}


class BigQuery:
    """The state of the service.

    Attributes:
        tables: By full name.
        jobs: By id.
        effects: How often each job took effect.
        paid: How often each query was run, by its SQL.
        faults: What goes wrong.
        log: `METHOD path` of each request, in order.
        sent: The body of every job that was asked for, dry runs included.
        running: So many times a job is asked for until it is done.
        inheriting: Whether a copy expires when its source does.
        telling: Whether a dry run tells the columns of the result.
    """

    def __init__(self) -> None:
        self.tables: dict[str, Table] = {}
        self.jobs: dict[str, Job] = {}
        self.effects: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.answers: dict[str, Answer] = {}
        self.faults: list[Fault] = []
        self.log: list[str] = []
        self.sent: list[Json] = []
        self.running: float = 1
        self.inheriting = False
        self.telling = False
        self.failing: list[Json] = []
        self.uploads: dict[str, Json] = {}
        self.lock = threading.RLock()
        self.stopping = threading.Event()
        self.clock = itertools.count(int(time.time() * 1000))
        self.address = ""

    # What tests say and ask.

    def answer(self, sql: str, fields: list[Json], rows: Sequence[Any], size: int = 1000) -> None:
        self.answers[sql] = Answer(fields, [tuple(row) for row in rows], size)

    def put(self, name: str, fields: list[Json], rows: Sequence[Any]) -> None:
        now = next(self.clock)
        self.tables[f"{PROJECT}.{DATASET}.{name}"] = Table(
            fields, [tuple(row) for row in rows], now, now
        )

    def rows(self, name: str) -> list[tuple[Any, ...]] | None:
        table = self.tables.get(f"{PROJECT}.{DATASET}.{name}")
        return None if table is None else table.rows

    def expire(self, pattern: str) -> list[str]:
        """Remove the tables whose name has this in it, as their expiration does."""
        gone = [name for name in self.tables if pattern in name]
        for name in gone:
            del self.tables[name]
        return gone

    def of_kind(self, kind: str) -> dict[str, Job]:
        return {k: v for k, v in self.jobs.items() if v.config["labels"]["featurekit"] == kind}

    # The service.

    def handle(self, method: str, path: str, query: dict[str, str], body: bytes) -> Any:
        for verb, pattern, action in self._routes():
            found = re.fullmatch(pattern, path)
            if verb == method and found:
                with self.lock:
                    return action(*found.groups(), query=query, body=body)
        raise Refused(404, "notFound", f"no such call: {method} {path}")

    def _routes(self) -> Iterator[tuple[str, str, Callable[..., Any]]]:
        base = r"/bigquery/v2/projects/([^/]+)"
        table = rf"{base}/datasets/([^/]+)/tables"
        yield "GET", rf"{base}/datasets/([^/]+)", self._dataset
        yield "POST", table, self._insert_table
        yield "GET", rf"{table}/([^/]+)", self._get_table
        yield "PATCH", rf"{table}/([^/]+)", self._patch_table
        yield "GET", rf"{table}/([^/]+)/data", self._data
        yield "POST", rf"{base}/jobs", self._insert_job
        yield "GET", rf"{base}/jobs/([^/]+)", self._get_job
        yield "POST", rf"{base}/jobs/([^/]+)/cancel", self._cancel
        yield "POST", rf"/upload{base}/jobs", self._start_upload
        yield "PUT", r"/upload/([^/]+)", self._upload

    def _dataset(self, project: str, dataset: str, **_: Any) -> Json:
        if dataset != DATASET:
            raise Refused(404, "notFound", f"Not found: Dataset {project}:{dataset}")
        return {
            "datasetReference": {"projectId": project, "datasetId": dataset},
            "location": LOCATION, "etag": "e", "id": f"{project}:{dataset}",
        }  # fmt: skip

    def _table(self, name: str) -> Table:
        if name not in self.tables:
            project, _, rest = name.partition(".")
            text = f"Not found: Table {project}:{rest} was not found in location {LOCATION}"
            raise Refused(404, "notFound", text)
        return self.tables[name]

    def _insert_table(self, project: str, dataset: str, *, body: bytes, **_: Any) -> Json:
        wanted = json.loads(body)
        name = f"{project}.{dataset}.{wanted['tableReference']['tableId']}"
        if name in self.tables:
            raise Refused(409, "duplicate", f"Already Exists: Table {name}")
        now = next(self.clock)
        expires = int(wanted["expirationTime"]) if "expirationTime" in wanted else None
        self.tables[name] = Table(wanted["schema"]["fields"], [], now, now, expires)
        return self._resource(name)

    def _get_table(self, project: str, dataset: str, table: str, **_: Any) -> Json:
        return self._resource(f"{project}.{dataset}.{table}")

    def _patch_table(
        self, project: str, dataset: str, table: str, *, body: bytes, **_: Any
    ) -> Json:
        name = f"{project}.{dataset}.{table}"
        assert set(json.loads(body)) == {"expirationTime"}, body
        self._table(name).expires = json.loads(body)["expirationTime"]
        return self._resource(name)

    def _resource(self, name: str) -> Json:
        table = self._table(name)
        reference = dict(zip(("projectId", "datasetId", "tableId"), name.split("."), strict=True))
        return {
            "tableReference": reference, "type": table.kind, "schema": {"fields": table.fields},
            "numRows": str(len(table.rows)), "numBytes": "1", "etag": str(table.modified),
            "creationTime": str(table.created), "lastModifiedTime": str(table.modified),
            **({"expirationTime": str(table.expires)} if table.expires else {}),
            **({"streamingBuffer": {"estimatedRows": "1"}} if table.streaming else {}),
        }  # fmt: skip

    def _data(
        self, project: str, dataset: str, table: str, *, query: dict[str, str], **_: Any
    ) -> Json:
        found = self._table(f"{project}.{dataset}.{table}")
        start = int(query.get("pageToken", query.get("startIndex", "0")))
        stop = start + int(query.get("maxResults", "100000"))
        out: Json = {"totalRows": str(len(found.rows)), "rows": wire(found.rows[start:stop])}
        if stop < len(found.rows):
            out["pageToken"] = str(stop)
        return out

    def _insert_job(self, project: str, *, body: bytes, content: bytes = b"", **_: Any) -> Json:
        wanted = json.loads(body)
        config, job_id = wanted["configuration"], wanted["jobReference"]["jobId"]
        self.sent.append(wanted)
        if config.get("dryRun"):
            answer = self._answer(config["query"]["query"])
            schema = {"schema": {"fields": answer.fields}} if self.telling else {}
            return {
                "jobReference": wanted["jobReference"], "configuration": config,
                "status": {"state": "DONE"},
                "statistics": {"query": {"totalBytesProcessed": str(answer.size), **schema}},
            }  # fmt: skip
        if job_id in self.jobs:
            raise Refused(409, "duplicate", f"Already Exists: Job {project}:{LOCATION}.{job_id}")
        assert wanted["jobReference"]["location"] == LOCATION
        self.jobs[job_id] = Job(config, content, self.running, started=next(self.clock))
        return self._job(job_id)

    def _get_job(self, project: str, job_id: str, *, query: dict[str, str], **_: Any) -> Json:
        if job_id not in self.jobs:
            raise Refused(404, "notFound", f"Not found: Job {project}:{job_id}")
        assert query.get("location") == LOCATION
        job = self.jobs[job_id]
        job.polls -= 1
        if not job.done and job.polls <= 0:
            self._finish(job_id, job)
        return self._job(job_id)

    def _cancel(self, _: str, job_id: str, **__: Any) -> Json:
        job = self.jobs[job_id]
        if not job.done:
            job.done, job.error = True, {"reason": "stopped", "message": "Job was cancelled"}
        return {"job": self._job(job_id)}

    def _start_upload(self, _: str, *, body: bytes, **__: Any) -> Json:
        wanted = json.loads(body)
        key = str(len(self.uploads))
        self.uploads[key] = wanted
        return {"Location": f"{self.address}/upload/{key}"}

    def _upload(self, key: str, *, body: bytes, **_: Any) -> Json:
        return self._insert_job(PROJECT, body=json.dumps(self.uploads[key]).encode(), content=body)

    def _job(self, job_id: str) -> Json:
        job = self.jobs[job_id]
        status: Json = {"state": "DONE" if job.done else "RUNNING"}
        if job.error:
            status |= {"errorResult": job.error, "errors": [job.error]}
        statistics: Json = {"startTime": str(job.started), "creationTime": str(job.started)}
        if job.done:
            statistics["endTime"] = str(job.ended)
        if "query" in job.config:
            statistics["query"] = {"totalBytesBilled": str(job.billed)}
        return {
            "jobReference": {"projectId": PROJECT, "jobId": job_id, "location": LOCATION},
            "configuration": job.config, "status": status, "statistics": statistics,
        }  # fmt: skip

    def _finish(self, job_id: str, job: Job) -> None:
        """Let a job take effect: all of it, or none with an error."""
        job.done = True
        try:
            if self.failing:
                job.error = self.failing.pop(0)
                return
            kind = next(kind for kind in ("query", "load", "copy") if kind in job.config)
            {"query": self._query, "load": self._load, "copy": self._copy}[kind](job_id, job)
            self.effects[job_id] += 1
        except Refused as error:
            job.error = {"reason": error.reason, "message": error.message}
        finally:
            job.ended = next(self.clock)

    def _answer(self, sql: str) -> Answer:
        """Return what the query in a statement gives, wherever the result goes."""
        text = sql.split("\nAS\n", 1)[1] if sql.startswith("CREATE OR REPLACE TABLE") else sql
        for name in re.findall(r"`([^`]+\.[^`]+\.[^`]+)`", text):
            self._table(name)
        if found := re.fullmatch(r"SELECT COUNT\(\*\) AS `counted` FROM `([^`]+)`", text):
            return Answer([column("counted")], [(len(self._table(found[1]).rows),)], 10)
        if found := re.fullmatch(r"SELECT .* FROM `([^`]+)` GROUP BY (.*) HAVING .* > 1", text):
            return self._repeated(self._table(found[1]), re.findall(r"`([^`]+)`", found[2]))
        if text not in self.answers:
            raise Refused(400, "invalidQuery", f"Syntax error: Unexpected {text[:20]!r} at [1:1]")
        return self.answers[text]

    def _repeated(self, table: Table, keys: list[str]) -> Answer:
        names = [each["name"] for each in table.fields]
        wanted = [names.index(key) for key in keys]
        counts = Counter(tuple(row[i] for i in wanted) for row in table.rows)
        rows = [key for key, count in counts.items() if count > 1]
        return Answer([table.fields[i] for i in wanted], rows, 10)

    def _query(self, _: str, job: Job) -> None:
        sql = job.config["query"]["query"]
        answer = self._answer(sql)
        limit = int(job.config["query"]["maximumBytesBilled"])
        if answer.size > limit:
            text = f"Query exceeded limit for bytes billed: {limit}. {answer.size} or higher needed"
            raise Refused(400, "bytesBilledLimitExceeded", text)
        self.paid[sql] += 1
        job.billed = answer.size
        made = re.match(r"CREATE OR REPLACE TABLE `([^`]+)`.*INTERVAL (\d+) HOUR", sql, re.DOTALL)
        assert made, sql
        now = next(self.clock)
        expires = now + 3_600_000 * int(made[2])
        self.tables[made[1]] = Table(answer.fields, answer.rows, now, now, expires)

    def _load(self, _: str, job: Job) -> None:
        target = ".".join(job.config["load"]["destinationTable"].values())
        table = self._table(target)
        if job.config["load"]["writeDisposition"] == "WRITE_EMPTY" and table.rows:
            raise Refused(409, "duplicate", f"Already Exists: Table {target}")
        frame = pq.read_table(io.BytesIO(job.content))
        table.rows = list(zip(*(each.to_pylist() for each in frame.columns), strict=True))
        table.modified = next(self.clock)

    def _copy(self, _: str, job: Job) -> None:
        config = job.config["copy"]
        sources = config.get("sourceTables") or [config["sourceTable"]]
        source = self._table(".".join(sources[0].values()))
        assert config["writeDisposition"] == "WRITE_TRUNCATE"
        now = next(self.clock)
        expires = source.expires if self.inheriting else None
        self.tables[".".join(config["destinationTable"].values())] = Table(
            source.fields, source.rows, now, now, expires
        )


def wire(rows: Sequence[tuple[Any, ...]]) -> list[Json]:
    """Return rows as tabledata.list writes them."""
    return [{"f": [{"v": _cell(cell)} for cell in row]} for row in rows]


def _cell(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return [{"v": _cell(each)} for each in value]
    return str(value)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: Server
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def do_PATCH(self) -> None:
        self._serve()

    def do_PUT(self) -> None:
        self._serve()

    def _serve(self) -> None:
        service = self.server.service
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        line = f"{self.command} {parts.path}"
        with service.lock:
            service.log.append(line)
            hit = [fault for fault in service.faults if fault.hits(line)]
        action = hit[0].action if hit else ""
        if action in ("reset before", "stall before"):
            self._fail(action)
            return
        if action in ("429", "503", "html", "refuse"):
            self._refuse(hit[0])
            return
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        status, answer = 200, {}
        try:
            answer = service.handle(self.command, parts.path, query, body)
        except Refused as error:
            status, answer = error.status, _error(error.status, error.reason, error.message)
        if action in ("reset after", "stall after"):
            self._fail(action)
            return
        if action == "lost token":
            answer.pop("pageToken", None)
        if action == "lost row" and answer.get("rows"):
            del answer["rows"][-1]
        content = b"{}" if action == "empty" and status == 200 else json.dumps(answer).encode()
        headers = {"Location": answer["Location"]} if "Location" in answer else {}
        if action == "truncated":
            content = content[: len(content) // 2]
        self._send(status, content, headers, cut=action == "cut")

    def _refuse(self, fault: Fault) -> None:
        if fault.action == "refuse":
            content = json.dumps(_error(fault.status, fault.reason, fault.message))
            self._send(fault.status, content.encode(), {})
        elif fault.action == "html":
            self._send(200, b"<html>Sign in to the network</html>", {})
        else:
            status, reason = int(fault.action), "backendError"
            if status == 429:
                reason = "rateLimitExceeded"
            self._send(status, json.dumps(_error(status, reason, "Try later")).encode(), {})

    def _send(
        self, status: int, content: bytes, headers: dict[str, str], cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if cut:
            self.wfile.write(content[: len(content) // 2])
            self._fail("reset")
        else:
            self.wfile.write(content)

    def _fail(self, action: str) -> None:
        """Never answer; reset the connection at once, or when the test is over."""
        self.close_connection = True
        if action.startswith("stall"):
            self.server.service.stopping.wait(30)
            return
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _error(status: int, reason: str, message: str) -> Json:
    errors = [{"reason": reason, "message": message, "domain": "global"}]
    return {"error": {"code": status, "message": message, "errors": errors}}


class Server(ThreadingHTTPServer):
    """The listener of one service."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, service: BigQuery) -> None:
        self.service = service
        super().__init__(("127.0.0.1", 0), Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that gave up is no news."""


@contextmanager
def bigquery_server() -> Iterator[BigQuery]:
    """Run a service on a free port of this machine."""
    service = BigQuery()
    server = Server(service)
    service.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
    thread.start()
    try:
        yield service
    finally:
        service.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def settings(service: BigQuery, **changed: Any) -> Settings:
    """Return settings for the service, with delays of a test's size."""
    from google.auth.credentials import AnonymousCredentials

    return Settings(**{
        "project": PROJECT, "dataset": DATASET, "api_endpoint": service.address,
        "credentials": AnonymousCredentials(), "deadline": 300.0, "request_timeout": 60.0,
        "retry_seconds": 60.0, "first_delay": 0.001, "longest_delay": 0.005, "page_rows": 3,
        "labels": {"team": "flights"}, **changed,
    })  # fmt: skip
