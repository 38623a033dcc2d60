"""The command `featurekit`: reads arguments, calls the library, prints what comes back.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once.
Results go to standard output, progress and errors to standard error; with `--json` an error is a
result too.
"""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from featurekit._version import __version__
from featurekit.ablate_command import add_ablate_arguments, run_ablate
from featurekit.console import (
    as_json,
    complain,
    count,
    described_job,
    found_leaks,
    notes_printed,
    one_line,
    progress_bar,
    put,
    report,
    report_unexpected,
    show_traceback,
    summary,
    verified_files,
    write,
)
from featurekit.errors import EngineError, FeatureKitError, SpecError, UsageError
from featurekit.help_texts import EPILOG, HELP, ROLES
from featurekit.scratch import remove_all_claimed
from featurekit.signals import Ended, ended_by_signals
from featurekit.table_options import add_table_arguments, table_of

__all__ = ["main", "parser"]

INTERRUPTED = 130
PIPE_CLOSED = 141

_SHELLS = ("bash", "zsh", "tcsh", "fish")
_FILES = ("SPEC", "INPUT", "FILE", "FILE.svg", "FILE.html", "FILE.yaml", "SPEC|RUN|TABLE",
          "RUN|SPEC|TABLE")  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The arguments after the command's name; those of the process by default.

    Returns:
        0 done, 1 a gate failed (leak, parity), 2 bad spec or usage, 3 bad data, 4 an engine
        failed, 5 over a budget, 130 interrupted, 129 and 143 ended by SIGHUP and SIGTERM.

    Raises:
        SystemExit: `--help` and `--version` (0), and arguments that argparse refuses (2).
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = _parsed(sys.argv[1:] if argv is None else list(argv))
    done = False
    try:
        with ended_by_signals(), notes_printed(getattr(arguments, "quiet", False)):
            if getattr(arguments, "spec", None) is not None:
                _refuse_folder(arguments.spec)
            answer: _Answer = arguments.command(arguments)
            said, code = answer if isinstance(answer, tuple) else (answer, 0)
            done = True
            return _printed(lambda: write(said) if said else None) or code
    except FeatureKitError as error:
        reported = error
        return _printed(lambda: report(reported, arguments))
    except KeyboardInterrupt as error:
        remove_all_claimed()  # What the signal kept from being cleaned up.
        kept: Callable[[], str] = getattr(arguments, "interrupted", lambda: "nothing was written")
        said, code = "interrupted", INTERRUPTED
        if isinstance(error, Ended):
            said, code = f"ended by {error.name}", error.exit_code
        with suppress(OSError):  # The terminal may be gone.
            complain(f"{said}; {'the work was done' if done else kept()}")
        return code
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if os.environ.get("FEATUREKIT_TRACEBACK") == "1":
            sys.excepthook = show_traceback
            raise
        unexpected = error
        return _printed(lambda: report_unexpected(unexpected, arguments))


def _printed(say: Callable[[], int | None]) -> int:
    """Print something, and return the exit code that it gives; another if it cannot be printed."""
    try:
        code = say() or 0
        sys.stdout.flush()
    except OSError as error:
        # Python would try once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            return PIPE_CLOSED  # Whoever read the output has gone.
        with suppress(OSError):
            complain(f"the output cannot be written: {error.strerror}")
        return EngineError.exit_code
    return code


def _parsed(argv: list[str]) -> argparse.Namespace:
    """Parse arguments; what follows `--` of a run or an ablation is for Beam."""
    made = parser()
    end = argv.index("--") if "--" in argv else len(argv)
    if argv[0:1] and argv[0] in (commands := _commands(made)):
        _refuse_unknown(commands[argv[0]], argv[1:end])
    if argv[:1] not in (["run"], ["ablate"]) or "--" not in argv:
        return made.parse_args(argv)
    return made.parse_args(argv[:end], argparse.Namespace(beam=argv[end + 1 :]))


def _refuse_unknown(command: argparse.ArgumentParser, words: Sequence[str]) -> None:
    """Refuse an option that a command does not have; argparse says first what is missing."""
    known = [option for action in command._actions for option in action.option_strings]  # noqa: SLF001
    for word in words:
        option = word.partition("=")[0]
        if word.startswith("--") and option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            command.error(f"there is no option {option}{meant}")


def _refuse_folder(name: str) -> None:
    """Refuse a folder where a spec is wanted; that of a run is for other commands.

    Raises:
        UsageError: It is a folder.
    """
    folder = Path(name)
    if not folder.is_dir():
        return
    from featurekit.artifact import MANIFEST

    hint = "give the path of its YAML file"
    if (folder / MANIFEST).is_file():
        hint = "it is the folder of a run, which apply, leakage and ablate take"
    raise UsageError("a spec file is needed, and this is a folder", where=name, hint=hint)


_Answer = str | list[str] | tuple[str | list[str], int]
"""What a command prints, lines or a text laid out in lines; with its exit code, if not 0."""


def _run(arguments: argparse.Namespace) -> _Answer:
    from featurekit.job import dry_run, run

    beam = getattr(arguments, "beam", ())
    options: dict[str, Any] = {
        "tensorflow": False if arguments.no_tensorflow else None, "tfrecord": arguments.tfrecord,
        "engine": arguments.engine, "bigquery": _bigquery(arguments), "beam": beam,
        "max_bad_rows": arguments.max_bad_rows, "cache": arguments.cache,
    }  # fmt: skip
    if any(word.startswith("--dry_run") for word in beam):
        job = dry_run(arguments.spec, arguments.out, **options)
        return as_json(job) if arguments.json else [*described_job(job)]
    with progress_bar(shown=not (arguments.quiet or arguments.json)) as progress:
        done = run(
            arguments.spec, arguments.out, overwrite=arguments.overwrite, load=arguments.load,
            strict=arguments.strict, progress=progress, **options,
        )  # fmt: skip
    if arguments.json:
        shown = ("name", "spec_sha256", "rows", "warnings", "saved_model", "seconds")
        facts = {key: done.manifest[key] for key in shown}
        return as_json({"out": arguments.out, "features": list(done.features), **facts})
    return [] if arguments.quiet else [*summary(done, arguments)]


def _bigquery(arguments: argparse.Namespace) -> Any:
    """Return where in BigQuery to work, if the arguments say so."""
    options = ("location", "max_bytes", "deadline", "label", "load", "ask")
    given = [name for name in options if getattr(arguments, name, None)]
    if arguments.project is None and arguments.dataset is None:
        if given:
            said = f"--{given[0].replace('_', '-')}"
            raise UsageError(f"{said} is about BigQuery, and needs --project and --dataset")
        return None
    if arguments.project is None or arguments.dataset is None:
        raise UsageError("--project and --dataset belong together")
    from featurekit.engines.bigquery.settings import from_environment

    labels = {}
    for text in getattr(arguments, "label", ()):
        key, sign, value = text.partition("=")
        if not sign:
            raise UsageError(f"a label is KEY=VALUE, got {text!r}")
        labels[key] = value
    bounds = {
        name: value
        for name in ("location", "max_bytes", "deadline")
        if (value := getattr(arguments, name, None)) is not None
    }
    return from_environment(arguments.project, arguments.dataset, labels=labels, **bounds)


def _plan(arguments: argparse.Namespace) -> _Answer:
    from featurekit.job import plan

    settings = _bigquery(arguments)
    made = plan(
        arguments.spec, arguments.engine, False if arguments.no_tensorflow else None,
        settings if arguments.ask else None, strict=arguments.strict,
    )  # fmt: skip
    if arguments.sql:
        from featurekit.engines.bigquery.aggregates import planned_statements
        from featurekit.engines.bigquery.sql import write_sql

        staging = "your-project.featurekit" if settings is None else settings.staging
        write_sql(planned_statements(made, staging), Path(arguments.sql))
    if arguments.json:
        text = as_json(made.to_dict())
    else:
        text = made.to_mermaid() if arguments.mermaid else made.explain()
    if arguments.picture:
        _write_picture(arguments.picture, made.to_svg())
    return text


def _check(arguments: argparse.Namespace) -> _Answer:
    from featurekit.job import check
    from featurekit.picture.timeline import draw_timeline
    from featurekit.verdict import judge

    resolved = check(arguments.spec, _bigquery(arguments), strict=arguments.strict)
    found = judge(resolved)
    examples = resolved.spec.examples
    inputs = resolved.inputs()
    if arguments.picture:
        _write_picture(arguments.picture, draw_timeline(found))
    if arguments.json:
        features = {name: str(node.type) for name, node in resolved.features.items()}
        columns = {name: str(of) for name, of in inputs.items()}
        return as_json(
            {
                "spec": arguments.spec, "name": resolved.spec.name, "problems": [],
                "features": features, "inputs": columns, "leakage": found.to_dict(),
            }
        )  # fmt: skip
    facts = (
        count(len(resolved.features), "feature"),
        f"{count(len(inputs), 'column')} of {examples.source}",
        "no label" if examples.label is None else f"label {examples.label}",
    )
    lines = [f"{arguments.spec}: {', '.join(facts)}, no problems"]
    lines += [f"note: {text}" for text in resolved.quiet]
    lines += [f"leakage: {found.summary()}", *(f"  {line}" for line in found.lines())]
    return lines


def _schema(arguments: argparse.Namespace) -> _Answer:
    from featurekit.schema import as_dict, as_yaml, freeze_file, read_schema
    from featurekit.spec.yaml import load_spec

    schema = read_schema(load_spec(arguments.spec), _bigquery(arguments))
    frozen = None
    if arguments.freeze:
        try:
            frozen = freeze_file(Path(arguments.spec), schema)
        except SpecError:
            if not arguments.json:
                write(as_yaml(schema))
            raise
    if arguments.json:
        return as_json({"sources": as_dict(schema), "frozen": frozen})
    if frozen is None:
        return as_yaml(schema)
    said = f"{count(frozen, 'type')} written" if frozen else "every column has its type already"
    return [f"{arguments.spec}: {said}"]


def _apply(arguments: argparse.Namespace) -> _Answer:
    from featurekit.runs import open_run
    from featurekit.serving import apply_file

    run = open_run(arguments.run)
    rows = apply_file(
        run.plan, run.fitted, arguments.input, Path(arguments.out), arguments.overwrite
    )
    if arguments.json:
        return as_json({"out": arguments.out, "rows": rows, "features": list(run.features)})
    return [f"{arguments.out}: {count(len(run.features), 'feature')} of {count(rows, 'row')}"]


def _verify(arguments: argparse.Namespace) -> _Answer:
    from featurekit.artifact import verify

    found = verify(Path(arguments.run))
    code = 0 if found.whole else 1
    if arguments.json:
        return as_json(found.to_dict()), code
    return [*verified_files(found)], code


def _snapshot(arguments: argparse.Namespace) -> _Answer:
    from featurekit.snapshots import write_snapshot

    keys = write_snapshot(
        arguments.spec, arguments.as_of, Path(arguments.out),
        overwrite=arguments.overwrite, only=arguments.only, bigquery=_bigquery(arguments),
    )  # fmt: skip
    if arguments.json:
        return as_json({"out": arguments.out, "as_of": arguments.as_of, "keys": keys})
    lines = [f"  {name}.parquet: {count(number, 'key')}" for name, number in keys.items()]
    return [f"{arguments.out}: what was known at {arguments.as_of}", *lines]


def _leakage(arguments: argparse.Namespace) -> _Answer:
    from featurekit.leakage import Thresholds, scan_leakage
    from featurekit.report.page import check_report_target

    limits = Thresholds()
    if (least := arguments.threshold) is not None:
        limits = replace(limits, warning=least, critical=max(least, limits.critical))
    asked = {name: getattr(arguments, name) for name in ("value_rows", "value_share",
                                                         "false_alarms")}  # fmt: skip
    limits = replace(limits, **{name: value for name, value in asked.items() if value is not None})
    out = None if arguments.out is None else Path(arguments.out)
    if out is not None:
        check_report_target(out, arguments.overwrite)
    with progress_bar(shown=not arguments.json) as progress:
        found = scan_leakage(
            table_of(arguments), label=arguments.label, split=arguments.split,
            entity=arguments.entity, time=arguments.time, exclude=arguments.exclude,
            seed=arguments.seed, thresholds=limits, replay=arguments.replay, progress=progress,
        )  # fmt: skip
        if out is not None:
            found.to_html(out, overwrite=arguments.overwrite)
    failing = found.fails(arguments.fail_on)
    made = found.to_dict()
    if arguments.json:
        gate = {"fail_on": arguments.fail_on, "failing": failing}
        return as_json({**made, "gate": gate}), int(failing > 0)
    lines = [*found_leaks(made, arguments.out)]
    if failing:
        lines.append(f"{count(failing, 'finding')} too many: --fail-on {arguments.fail_on}")
    return lines, int(failing > 0)


def _completion(arguments: argparse.Namespace) -> str:
    import shtab

    made = parser()
    for command in _commands(made).values():
        for action in command._actions:  # noqa: SLF001  (argparse offers no other way)
            if action.metavar in _FILES:
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar in ("DIR", "RUN"):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    return str(shtab.complete(made, arguments.shell))


class _Parser(argparse.ArgumentParser):
    """A parser whose help is printed, or says that it cannot be."""

    def _print_message(self, message: str, file: Any = None) -> None:
        lines = message.removesuffix("\n").split("\n")
        if message and (code := _printed(lambda: put(file or sys.stderr, lines))):
            raise SystemExit(code)

    def error(self, message: str) -> NoReturn:
        """Print what is wrong, in one line, and exit with 2."""
        super().error(one_line(message))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = _Parser(
        prog="featurekit", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Declare features once, in a spec; train on them and serve them unchanged.",
        epilog=EPILOG,
    )  # fmt: skip
    made.add_argument("--version", action="version", version=f"featurekit {__version__}",
                      help="print the version and exit")  # fmt: skip
    commands = made.add_subparsers(title="commands", required=True)

    def command(
        name: str, function: Callable[[argparse.Namespace], _Answer]
    ) -> argparse.ArgumentParser:
        text = HELP[name]
        added = commands.add_parser(
            name, help=text.splitlines()[0], description=text.split("\n\nexamples:")[0],
            epilog="examples:" + text.split("\n\nexamples:")[1], allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        added.set_defaults(command=function, json=False)
        return added

    def spec(added: argparse.ArgumentParser) -> None:
        added.add_argument("spec", metavar="SPEC", help="the spec, a YAML file")

    def json(added: Any, what: str) -> None:
        added.add_argument(
            "--json", action="store_true", help=f"print {what} as JSON (default: text)"
        )

    def no_tensorflow(added: argparse.ArgumentParser) -> None:
        text = "export no SavedModel (default: export one where TensorFlow is installed)"
        added.add_argument("--no-tensorflow", action="store_true", help=text)

    def flag(added: Any, name: str, text: str) -> None:
        added.add_argument(name, action="store_true", help=text)

    def strict(added: argparse.ArgumentParser) -> None:
        text = "refuse features that are unproven: nothing declared shows when they are known "
        text += "(default: say which)"
        flag(added, "--strict", text)

    def engine(added: argparse.ArgumentParser) -> None:
        text = "local, beam for full passes and examples on Apache Beam, or gcp for those, and "
        text += "aggregations and lookups in BigQuery (default: local)"
        added.add_argument("--engine", metavar="NAME", default="local", help=text)

    def bigquery(added: argparse.ArgumentParser, jobs: bool = True) -> None:
        group = added.add_argument_group("BigQuery")
        text = "the project that runs jobs and pays for them (default: no use of BigQuery)"
        group.add_argument("--project", metavar="NAME", help=text)
        text = "the dataset for staging tables and results (default: no use of BigQuery)"
        group.add_argument("--dataset", metavar="NAME", help=text)
        text = "where jobs run (default: where the dataset is)"
        group.add_argument("--location", metavar="NAME", help=text)
        if not jobs:
            return
        text = "refuse, before anything runs, what would read more (default: 1 TiB)"
        group.add_argument("--max-bytes", metavar="N", type=_bytes, help=text)
        text = "refuse to wait longer for all jobs together (default: 3600)"
        group.add_argument("--deadline", metavar="SECONDS", type=float, help=text)
        text = "a label of every job; may be given again (default: FeatureKit's own only)"
        group.add_argument("--label", metavar="KEY=VALUE", action="append", default=[], help=text)

    run = command("run", _run)
    spec(run)
    text = "the folder to write; it appears complete or not at all (required)"
    run.add_argument("--out", metavar="DIR", required=True, help=text)
    text = "replace a run that stands there, once the new one is complete (default: refuse)"
    flag(run, "--overwrite", text)
    no_tensorflow(run)
    flag(run, "--tfrecord", "write the examples as TFRecord too (default: Parquet only)")
    engine(run)
    bigquery(run)
    flag(run, "--load", "let local data be loaded into BigQuery (default: refuse)")
    group = run.add_argument_group("Beam", "what follows -- is for Beam: -- --runner=FlinkRunner")
    text = "set so many rows aside that the spec does not allow, with the reason (default: 0)"
    group.add_argument("--max-bad-rows", metavar="N", type=int, default=0, help=text)
    text = (
        "keep statistics for each input file there, and compute those of new files (default: none)"
    )
    group.add_argument("--cache", metavar="DIR", help=text)
    strict(run)
    json(run, "what was written")
    text = "print nothing but errors (default: a summary, and progress on a terminal)"
    flag(run, "--quiet", text)

    plan = command("plan", _plan)
    spec(plan)
    form = plan.add_mutually_exclusive_group()
    json(form, "the plan")
    flag(form, "--mermaid", "print the plan as a Mermaid flowchart (default: a table)")
    text = "write the plan as a picture too, replacing an older one (default: none)"
    plan.add_argument("--picture", metavar="FILE.svg", help=text)
    text = "write the SQL of aggregations and lookups, one file a step (default: none)"
    plan.add_argument("--sql", metavar="DIR", help=text)
    no_tensorflow(plan)
    engine(plan)
    bigquery(plan)
    text = "ask BigQuery for the columns of its tables (default: go by what SPEC declares)"
    flag(plan, "--ask", text)
    strict(plan)

    check = command("check", _check)
    spec(check)
    json(check, "the result, or all problems,")
    strict(check)
    text = "draw when what features use becomes known, replacing an older picture (default: none)"
    check.add_argument("--picture", metavar="FILE.svg", help=text)
    bigquery(check, jobs=False)

    schema = command("schema", _schema)
    spec(schema)
    text = "write inferred types into SPEC itself, comments and layout kept (default: print only)"
    flag(schema, "--freeze", text)
    bigquery(schema, jobs=False)
    json(schema, "the types")

    apply = command("apply", _apply)
    apply.add_argument("run", metavar="RUN", help="the folder of a run")
    text = "the rows: a Parquet or CSV file, or a glob of either in quotes"
    apply.add_argument("input", metavar="INPUT", help=text)
    text = "the file to write: .parquet or .csv (required)"
    apply.add_argument("--out", metavar="FILE", required=True, help=text)
    flag(apply, "--overwrite", "replace the file if it stands there (default: refuse)")
    json(apply, "what was written")

    verify = command("verify", _verify)
    verify.add_argument("run", metavar="RUN", help="the folder of a run or a snapshot")
    json(verify, "the result")

    snapshot = command("snapshot", _snapshot)
    spec(snapshot)
    text = "the time, such as 2013-12-01 or 2013-12-01T06:00Z; without an offset UTC (required)"
    snapshot.add_argument("--as-of", metavar="TIME", required=True, help=text)
    text = "the folder to write, one Parquet file for each aggregation and lookup (required)"
    snapshot.add_argument("--out", metavar="DIR", required=True, help=text)
    text = "an aggregation or lookup to compute; may be given again (default: all)"
    snapshot.add_argument("--only", metavar="NAME", action="append", default=[], help=text)
    flag(snapshot, "--overwrite", "replace a snapshot that stands there (default: refuse)")
    bigquery(snapshot)
    json(snapshot, "what was written")

    leakage = command("leakage", _leakage)
    text = "a spec, the folder of a run, or a table: a Parquet or CSV file, or a glob in quotes"
    leakage.add_argument("subject", metavar="SPEC|RUN|TABLE", help=text)
    for role, text in ROLES.items():
        leakage.add_argument(f"--{role}", metavar="COLUMN", help=text)
    text = "a column that is no feature; may be given again (default: the keys of a spec)"
    leakage.add_argument("--exclude", metavar="COLUMN", action="append", default=[], help=text)
    text = "write the report, and the same as JSON beside it (default: print a summary only)"
    leakage.add_argument("--out", metavar="FILE.html", help=text)
    flag(leakage, "--overwrite", "replace a report that stands there (default: refuse)")
    text = "exit with 1 where a finding is so bad, or worse (default: critical)"
    leakage.add_argument("--fail-on", choices=("critical", "warning", "never"),
                         default="critical", help=text)  # fmt: skip
    text = "the strength of a feature alone, AUC or R2, from which it is a warning (default: 0.9)"
    leakage.add_argument("--threshold", metavar="X", type=_share, help=text)
    text = "judge a single value from so many rows on (default: 20)"
    leakage.add_argument("--value-rows", metavar="N", type=_whole, help=text)
    text = (
        "and from such a share of all rows on (default: 0, as long as chance does not explain it)"
    )
    leakage.add_argument("--value-share", metavar="X", type=_share, help=text)
    text = "the chance that noise alone raises a warning by strength or by a value (default: 0.05)"
    leakage.add_argument("--false-alarms", metavar="X", type=_share, help=text)
    text = "compute N examples again without what was not known when they were predicted, and "
    text += "compare; 100 without N, all with 0 (default: none)"
    leakage.add_argument("--replay", metavar="N", type=_whole, nargs="?", const=100, help=text)
    text = "the seed of all that is drawn (default: 0)"
    leakage.add_argument("--seed", metavar="N", type=_whole, default=0, help=text)
    json(leakage, "all that was found")
    add_table_arguments(leakage)

    add_ablate_arguments(command("ablate", run_ablate))

    completion = command("completion", _completion)
    completion.add_argument("shell", choices=_SHELLS, help="the shell to complete for")
    return made


def _commands(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices = [action.choices for action in made._actions  # noqa: SLF001
               if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001  # fmt: skip
    return dict(choices[0])


def _bytes(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(
            f"bytes are a whole number, such as 10000000000 for 10 GB, got {text!r}"
        )
    return int(text)


def _whole(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0, got {text!r}")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"a number above 0 and up to 1, got {text!r}")
    return value


def _write_picture(name: str, svg: str) -> None:
    from featurekit.artifact import new_file

    path = Path(name)
    if path.suffix.lower() != ".svg":
        raise UsageError("a picture is an .svg file", where=name)
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(svg, "utf-8")


if __name__ == "__main__":
    sys.exit(main())
