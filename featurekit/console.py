"""What the command line says: results, progress and errors, on a terminal or as JSON."""

from __future__ import annotations

import argparse
import copy
import logging
import sys
import textwrap
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from shlex import quote
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO

from featurekit.errors import FeatureKitError, FeatureKitWarning, SpecErrors
from featurekit.escapes import escaped

if TYPE_CHECKING:
    from featurekit.integrity import Verification
    from featurekit.job import Progress
    from featurekit.runs import Run

__all__ = [
    "as_json", "complain", "count", "described_job", "found_ablation", "found_leaks",
    "notes_printed", "one_line", "progress_bar", "put", "remark", "report", "report_unexpected",
    "show_traceback", "summary", "verified_files", "write",
]  # fmt: skip

UNEXPECTED = 4
WIDTH = 100
FINDINGS = 20
STRONGEST = NAMED = 3
"""So many findings are printed, and so many features named; the report has them all."""


@contextmanager
def progress_bar(shown: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give a function that draws stages as a bar on a terminal, whose clock goes on by itself.

    Notes, such as what BigQuery is going to read, are lines of their own, also elsewhere.
    """
    if not shown:
        yield None
        return
    if not sys.stderr.isatty():
        yield lambda event: remark(event.text) if event.note else None
        return
    import threading

    from tqdm import tqdm

    form = "{percentage:3.0f}% |{bar:20}| {n_fmt}/{total_fmt} stages  {elapsed}  {desc}"
    ended = threading.Event()
    # The size is given because tqdm draws nothing on a terminal that reports none.
    wide = get_terminal_size().columns - 1
    with tqdm(
        desc="reading the spec", bar_format=form, file=sys.stderr, leave=False, ncols=wide, nrows=20
    ) as bar:

        def tell(event: Progress) -> None:
            if event.note:
                tqdm.write(escaped(event.text), file=sys.stderr)
                return
            bar.total, bar.n = event.stages, event.done
            bar.set_description_str(escaped(event.text))

        def tick() -> None:
            while not ended.wait(0.5):
                bar.refresh()

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield tell
        finally:
            ended.set()
            clock.join()


@contextmanager
def notes_printed(quiet: bool = False) -> Iterator[None]:
    """Print FeatureKit's own warnings and log messages as notes.

    Args:
        quiet: Whether they are left out.
    """

    def show(
        message: Warning | str, category: type[Warning], filename: str, lineno: int,
        file: TextIO | None = None, line: str | None = None,  # noqa: ARG001
    ) -> None:  # fmt: skip
        if not issubclass(category, FeatureKitWarning):
            said = f"{filename}:{lineno}: {category.__name__}: {message}"
            put(sys.stderr if file is None else file, [said])
        elif not quiet:
            remark(f"note: {message}")

    class Notes(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if not quiet:
                remark(f"note: {record.getMessage()}")

    handler, logger, log = Notes(), logging.getLogger("featurekit"), logging.lastResort
    logger.addHandler(handler)
    if log is not None:
        log.setFormatter(_Escaping())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", FeatureKitWarning)
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
        if log is not None:
            log.setFormatter(None)


class _Escaping(logging.Formatter):
    """Escapes what libraries log."""

    def format(self, record: logging.LogRecord) -> str:
        said = copy.copy(record)
        said.msg, said.args = escaped(record.getMessage()), ()
        return escaped(super().format(said), "\n\t")


def show_traceback(_: type[BaseException], error: BaseException, trace: Any) -> None:
    """Print a traceback, as `sys.excepthook` does."""
    put(sys.stderr, _traced(error, trace, []))


def _traced(error: BaseException, trace: Any, seen: list[BaseException]) -> Iterator[str]:
    """Yield the lines of a traceback, each message as one line, causes first."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and not any(before is one for one in seen):
        yield from _traced(before, before.__traceback__, [*seen, error])
        yield ""
    yield "Traceback (most recent call last):"
    for part in traceback.format_tb(trace):
        yield from part.splitlines()
    yield f"{type(error).__name__}: {error}"


def summary(done: Run, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the lines that say what a run wrote, and what to do with it."""
    manifest, out = done.manifest, arguments.out
    rows, seconds = manifest["rows"], manifest["seconds"]
    splits = ", ".join(f"{name} {number:,}" for name, number in rows["splits"].items())
    unlabelled = rows["without_label"]
    left_out = f"; {unlabelled:,} without a label left out" if unlabelled else ""
    if embargoed := rows.get("embargoed"):
        left_out += f"; {embargoed:,} under embargo left out"
    yield f"{out}: {count(len(done.features), 'feature')} of {count(rows['written'], 'row')}"
    yield f"  rows        {splits}{left_out}"
    bad = rows.get("bad", {"rows": 0})["rows"]
    if bad:
        yield f"  bad rows    {bad:,} set aside in {out}/bad_rows"
    if "cache" in manifest.get("beam", {}):
        kept = manifest["beam"]["cache"]
        said = f"{kept['reused']} of {count(kept['files'], 'file')} were there"
        yield f"  cache       {arguments.cache}: statistics of {said}"
    missing = rows["nan_read_as_missing"]
    if missing:
        found = ", ".join(f"{name} {number:,}" for name, number in missing.items())
        yield f"  NaN         read as missing: {found}"
    for warning in manifest.get("warnings", ()):
        yield f"  warning     {warning}"
    yield f"  examples    {out}/examples"
    saved = manifest["saved_model"]
    if saved["exported"]:
        sampled = count(manifest["parity"]["rows"], "sampled row")
        yield f"  SavedModel  {out}/transform_fn, equal to the examples in {sampled}"
    else:
        yield f"  SavedModel  none: {saved['reason']}"
    if "bigquery" in manifest:
        used = manifest["bigquery"]
        place = f"{used['project']}, dataset {used['dataset']}"
        yield f"  BigQuery    {used['bytes_billed']:,} bytes billed to {place}"
    laps = ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in seconds.items())
    yield f"  time        {laps}"
    yield "next:"
    yield f"  featurekit plan {quote(arguments.spec)} --picture plan.svg"
    yield f"  featurekit apply {quote(out)} NEW_ROWS.parquet --out features.parquet"
    yield f"  in Python: featurekit.open_run({out!r}).examples('train').to_pandas()"


def described_job(job: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that describe a job which was built and not sent."""
    steps = count(len(job["steps"]), "step")
    yield f"{job['runner']}: a job of {steps}; nothing was sent or written"
    for name, value in job["options"].items():
        yield f"  --{name}={value}"
    yield f"  packages    {', '.join(job['packages']) or 'none'}"
    phases: dict[str, int] = {}
    for step in job["steps"]:
        phase = step.partition("/")[0]
        phases[phase] = phases.get(phase, 0) + 1
    for phase, number in phases.items():
        yield f"  {phase}: {count(number, 'step')}"


def verified_files(found: Verification) -> Iterator[str]:
    """Yield the lines that say whether the files of a run are those that were written."""
    if found.whole:
        yield f"{found.folder}: whole, {count(found.files, 'file')} of {found.bytes:,} bytes"
    else:
        yield f"{found.folder}: not whole, {count(len(found.problems), 'problem')}"
    yield from (f"  {problem}" for problem in found.problems[:FINDINGS])
    if len(found.problems) > FINDINGS:
        yield f"  and {count(len(found.problems) - FINDINGS, 'more problem')}: --json has them all"
    if found.unhashed:
        yield f"  compared by size alone: {count(len(found.unhashed), 'file')} from a bucket"


def found_leaks(report: Mapping[str, Any], out: str | None) -> Iterator[str]:
    """Yield the lines that say which leaks were found, the worst first.

    Args:
        report: The content of a leakage report.
        out: Where it was written, if it was.
    """
    from featurekit.report.leakage import findings, roles, said, strength_name, verdict

    of, every = report["of"], findings(report)
    yield f"{of['name']}: {verdict(report)}"
    known, unknown = roles(of)
    rest = f"; not known: {', '.join(unknown)}" if unknown else ""
    yield f"  {', '.join(f'{role} {what}' for role, what in known.items())}{rest}"
    flagged = [found for found in every if found["severity"] != "note"]
    if strongest := list(report["scan"]["features"].items())[:STRONGEST]:
        numbers = ", ".join(f"{_called(name)} {held['strength']:.3f}" for name, held in strongest)
        yield f"  strongest alone ({strength_name(report)}): {numbers}"
    if (replay := report.get("replay")) is not None:
        examples = count(replay["examples"], "example")
        verdicts = [each["verdict"] for each in replay["features"].values()]
        told = [f"{verdicts.count(kind):,} {kind}" for kind in dict.fromkeys(verdicts)]
        yield f"  replay of {examples} without the future: {', '.join(told)}"
    before = None
    for found in flagged[:FINDINGS]:
        group = (found["severity"], found["kind"])
        if group != before:
            yield ""
        shown = _listed(found["features"])
        yield f"{found['severity']}  {found['kind']}  {shown}".rstrip()
        yield from _wrapped(f"{said(found, report)} {_rest(found)}")
        if found["advice"] and group != before:
            yield from _wrapped(f"-> {found['advice']}")
        before = group
    if every:
        yield ""
    if len(flagged) > FINDINGS:
        yield f"and {count(len(flagged) - FINDINGS, 'more finding')}"
    if notes := every[len(flagged) :]:
        kinds: dict[str, list[str]] = {}
        for found in notes:
            kinds.setdefault(found["kind"], []).extend(found["features"])
        listed = "; ".join(f"{kind} {_listed(names)}".rstrip() for kind, names in kinds.items())
        yield f"{count(len(notes), 'note')} in --json and --out: {listed}"
    caveat = report["scan"].get("caveat")
    if caveat and any(caveat in found["message"] for found in flagged):
        yield from textwrap.wrap(f"{caveat}.", WIDTH)
    if out is not None:
        yield f"the report: {out}"


def found_ablation(report: Mapping[str, Any], out: str | None) -> Iterator[str]:
    """Yield the lines that say which features matter, and which can go.

    Args:
        report: The content of an ablation report.
        out: Where it was written, if it was.
    """
    from featurekit.report.ablation import ablation_verdict
    from featurekit.report.amounts import duration
    from featurekit.report.budget import budget_text
    from featurekit.report.tiers import TIERS, amounts_of, finished, strongest

    yield f"{report['of']['name']}: {ablation_verdict(report)}"
    for tier in report["tiers"]:
        measured = f"{count(len(tier['features']), 'feature')} in {duration(tier['seconds'])}"
        ended = "" if tier["complete"] else f"; {finished(tier)}"
        yield f"  {TIERS[tier['tier']]:16}  {measured}, {tier['model']}{ended}"
    if ended := budget_text(report):
        yield from _wrapped(ended)
    for tier, features in list(strongest(report, "features"))[:1]:
        amounts = amounts_of(tier)
        most = (f"{_called(one['name'])} {amounts.whole(one)}" for one in features[:STRONGEST])
        yield from _wrapped(f"worth most ({tier['loss']}): {'; '.join(most)}")
    verdicts = report["verdicts"].items()
    if unsure := [name for name, one in verdicts if one["verdict"] == "undecided"]:
        yield from _wrapped(f"undecided: {_listed(unsure)}; more rows would tell")
    kinds = [one["kind"] for one in report["relations"] if one["confirmed"] is not False]
    if kinds:
        told = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds))
        yield from _wrapped(f"relations: {told}")
    proposal = report.get("proposal") or {"remove": []}
    if remove := proposal["remove"]:
        interval = amounts_of(proposal).whole(proposal["difference"])
        margin = amounts_of(proposal).plain(proposal["margin"])
        yield ""
        yield f"can go, at {interval} of {proposal['loss']}, margin {margin}:"
        for name in remove[:FINDINGS]:
            reason = proposal["reasons"].get(name, "")
            yield from _wrapped(f"{_called(name)}  {reason}".rstrip())
        if len(remove) > FINDINGS:
            yield f"and {count(len(remove) - FINDINGS, 'more feature')}"
    if out is not None:
        yield f"the report: {out}"


def _listed(names: Sequence[str]) -> str:
    """Return the first names, and how many there are besides."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return ", ".join(map(_called, names[:NAMED])) + more


def _called(name: str) -> str:
    return name or "''"


def _rest(found: Mapping[str, Any]) -> str:
    """Return what of a finding's effect its message leaves unsaid."""
    from featurekit.report.leakage import effect_text

    effect = found.get("effect")
    if effect is None or effect["value"] is None:
        return ""
    value, text = effect["value"], effect_text(effect)
    told, _, interval = text.partition(" (")
    if not any(said in found["message"] for said in (told, f"{value:.1%}", f"{value:.2%}")):
        return f"{text}."
    return f"{interval[:1].upper()}{interval[1:].rstrip(')')}." if interval else ""


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="  ")


def count(number: int, what: str) -> str:
    """Return a number with what it counts, in the plural where it takes one."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def report(error: FeatureKitError, arguments: argparse.Namespace) -> int:
    """Print an error that was raised on purpose; return its exit code."""
    if arguments.json:
        write(as_json(error.to_dict()))
    elif isinstance(error, SpecErrors):
        put(sys.stderr, [one_line(str(problem)) for problem in error.problems])
        given = vars(arguments)
        where = next(given[name] for name in ("subject", "spec", "run") if given.get(name))
        complain(f"{count(len(error.problems), 'problem')} in {where}")
    else:
        complain(one_line(str(error)))
    return error.exit_code


def report_unexpected(error: BaseException, arguments: argparse.Namespace) -> int:
    """Print an error that nobody raised on purpose; return its exit code."""
    kind, said = type(error).__name__, one_line(str(error)) or "no message"
    if arguments.json:
        write(as_json({"error": kind, "where": "", "message": said, "hint": _REPORT}))
    else:
        complain(f"unexpected {kind}: {said}. {_REPORT}")
    return UNEXPECTED


_REPORT = "This is a bug: please report it with the spec and what FEATUREKIT_TRACEBACK=1 prints"


def one_line(text: str) -> str:
    """Return a text without the line ends that names in it may hold."""
    return " ".join(text.split())


def complain(text: str) -> None:
    """Print an error."""
    put(sys.stderr, [f"featurekit: error: {text}"])


def remark(text: str) -> None:
    """Print something to know while a command runs."""
    put(sys.stderr, [f"featurekit: {text}"])


def write(answer: str | Sequence[str]) -> None:
    """Print a result.

    Args:
        answer: Its lines, or a text that is laid out in lines, such as JSON, in which no name
            holds a line end.
    """
    if isinstance(answer, str):
        put(sys.stdout, answer.split("\n"), layout="\t")
    else:
        put(sys.stdout, answer)


def as_json(data: Any) -> str:
    """Return a result for machines."""
    import json

    return json.dumps(data, indent=2, allow_nan=False)


def put(stream: Any, lines: Iterable[str], layout: str = "") -> None:
    """Write lines to a terminal or a file: all that the command prints goes through here.

    Names may be hostile: no control character of theirs gets through, nor a line end.
    """
    stream.write("".join(f"{escaped(line, layout)}\n" for line in lines))
