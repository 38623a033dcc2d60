"""The command `featurekit`: reads arguments, calls the library, prints what comes back.

Nothing heavy is imported before a command runs, so that `--help` and completion answer at once.
Results go to standard output, progress and errors to standard error; with `--json` an error is a
result too.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from featurekit._version import __version__
from featurekit.errors import FeatureKitError, SpecError, SpecErrors, UsageError

if TYPE_CHECKING:
    from featurekit.run import Progress, Run

__all__ = ["main", "parser"]

INTERRUPTED = 130
PIPE_CLOSED = 141
UNEXPECTED = 4

_SHELLS = ("bash", "zsh", "tcsh", "fish")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: The arguments after the command's name; those of the process by default.

    Returns:
        0 done, 1 a gate failed (leak, parity), 2 bad spec or usage, 3 bad data, 4 an engine
        failed, 130 interrupted.

    Raises:
        SystemExit: `--help` and `--version` (0), and arguments that argparse refuses (2).
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    arguments = parser().parse_args(argv)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except FeatureKitError as error:
        return _report(error, arguments)
    except KeyboardInterrupt:
        _complain("interrupted; nothing was written")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except (SystemExit, GeneratorExit):
        raise
    except BaseException as error:
        if os.environ.get("FEATUREKIT_TRACEBACK") == "1":
            raise
        return _unexpected(error, arguments)
    return 0


def _run(arguments: argparse.Namespace) -> None:
    if arguments.engine != "local":
        raise UsageError(f"the engine {arguments.engine!r} is not available yet",
                         hint="leave --engine out: local is the only one so far")  # fmt: skip
    from featurekit.run import run

    with _progress(shown=not (arguments.quiet or arguments.json)) as progress:
        done = run(arguments.spec, arguments.out, tensorflow=_tensorflow(arguments),
                   overwrite=arguments.overwrite, tfrecord=arguments.tfrecord, progress=progress)  # fmt: skip
    if arguments.json:
        _write_json({"out": arguments.out, "features": list(done.features),
                     **{key: done.manifest[key] for key in ("name", "spec_sha256", "rows", "saved_model", "seconds")}})  # fmt: skip
    elif not arguments.quiet:
        _write(*_summary(done, arguments))


def _plan(arguments: argparse.Namespace) -> None:
    from featurekit.run import plan

    made = plan(arguments.spec, saved_model=not arguments.no_tensorflow)
    if arguments.picture:
        _write_picture(arguments.picture, made.to_svg())
    if arguments.json:
        _write_json(made.to_dict())
    else:
        _write(made.to_mermaid() if arguments.mermaid else made.explain())


def _check(arguments: argparse.Namespace) -> None:
    from featurekit.run import check

    resolved = check(arguments.spec)
    examples = resolved.spec.examples
    inputs = resolved.inputs()
    if arguments.json:
        _write_json({"spec": arguments.spec, "name": resolved.spec.name, "problems": [],
                     "features": {name: str(node.type) for name, node in resolved.features.items()},
                     "inputs": {name: str(of) for name, of in inputs.items()}})  # fmt: skip
        return
    label = "no label" if examples.label is None else f"label {examples.label}"
    _write(f"{arguments.spec}: {_count(len(resolved.features), 'feature')}, "
           f"{_count(len(inputs), 'column')} of {examples.source}, {label}, no problems")  # fmt: skip


def _schema(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from featurekit.schema import freeze_file, read_schema
    from featurekit.spec.yaml import load_spec

    schema = read_schema(load_spec(arguments.spec))
    lines = ["sources:"]
    for name, source in schema.items():
        lines += [f"  {name}:", "    columns:", *(f"      {line}" for line in source.lines())]
    if not arguments.freeze:
        if not arguments.json:
            _write(*lines)
    else:
        try:
            frozen = freeze_file(Path(arguments.spec), schema)
        except SpecError:
            if not arguments.json:
                _write(*lines)
            raise
        if not arguments.json:
            _write(f"{arguments.spec}: {_count(frozen, 'type')} written" if frozen
                   else f"{arguments.spec}: every column declares its type already")  # fmt: skip
    if arguments.json:
        _write_json({"sources": {
            name: {"columns": {column: {"type": str(of), "declared": column not in source.inferred}
                               for column, of in source.types.items()},
                   "left_out": dict(source.left_out)}
            for name, source in schema.items()
        }, "frozen": arguments.freeze})  # fmt: skip


def _apply(arguments: argparse.Namespace) -> None:
    from pathlib import Path

    from featurekit.run import open_run
    from featurekit.serving import apply_file

    run = open_run(arguments.run)
    rows = apply_file(
        run.plan, run.statistics, arguments.input, Path(arguments.out), arguments.overwrite
    )
    if arguments.json:
        _write_json({"out": arguments.out, "rows": rows, "features": list(run.features)})
    else:
        _write(f"{arguments.out}: {_count(len(run.features), 'feature')} of {_count(rows, 'row')}")


def _completion(arguments: argparse.Namespace) -> None:
    import shtab

    made = parser()
    for command in _commands(made).values():
        for action in command._actions:  # noqa: SLF001  (argparse offers no other way)
            if action.metavar in ("SPEC", "INPUT", "FILE", "FILE.svg"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
            elif action.metavar in ("DIR", "RUN"):
                action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
    _write(shtab.complete(made, arguments.shell))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="featurekit", allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Declare features once, in a spec; get the same features for training and serving.",
        epilog=_EPILOG,
    )  # fmt: skip
    made.add_argument("--version", action="version", version=f"featurekit {__version__}",
                      help="print the version and exit")  # fmt: skip
    commands = made.add_subparsers(title="commands", required=True)

    def command(
        name: str, function: Callable[[argparse.Namespace], None]
    ) -> argparse.ArgumentParser:
        text = _HELP[name]
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

    no_tensorflow = "export no SavedModel (default: export one where TensorFlow is installed)"

    run = command("run", _run)
    spec(run)
    run.add_argument("--out", metavar="DIR", required=True,
                     help="the folder to write; it appears complete or not at all (required)")  # fmt: skip
    run.add_argument("--overwrite", action="store_true",
                     help="replace a run that stands there, once the new one is complete (default: refuse)")  # fmt: skip
    run.add_argument("--no-tensorflow", action="store_true", help=no_tensorflow)
    run.add_argument("--tfrecord", action="store_true",
                     help="write the examples as TFRecord too (default: Parquet only)")  # fmt: skip
    run.add_argument("--engine", metavar="NAME", default="local",
                     help="what fits statistics and writes examples (default: local)")  # fmt: skip
    json(run, "what was written")
    run.add_argument("--quiet", action="store_true",
                     help="print nothing but errors (default: progress, where standard error is a "
                          "terminal, and a summary)")  # fmt: skip

    plan = command("plan", _plan)
    spec(plan)
    form = plan.add_mutually_exclusive_group()
    json(form, "the plan")
    form.add_argument("--mermaid", action="store_true",
                      help="print the plan as a Mermaid flowchart (default: a table)")  # fmt: skip
    plan.add_argument("--picture", metavar="FILE.svg",
                      help="write the plan as a picture too, replacing an older one (default: none)")  # fmt: skip
    plan.add_argument("--no-tensorflow", action="store_true", help=no_tensorflow)

    check = command("check", _check)
    spec(check)
    json(check, "the result, or all problems,")

    schema = command("schema", _schema)
    spec(schema)
    schema.add_argument("--freeze", action="store_true",
                        help="write the inferred types into SPEC itself, keeping comments and layout "
                             "(default: print only)")  # fmt: skip
    json(schema, "the types")

    apply = command("apply", _apply)
    apply.add_argument("run", metavar="RUN", help="the folder of a run")
    apply.add_argument("input", metavar="INPUT",
                       help="the rows: a Parquet or CSV file, or a glob of either in quotes")  # fmt: skip
    apply.add_argument("--out", metavar="FILE", required=True,
                       help="the file to write: .parquet or .csv (required)")  # fmt: skip
    apply.add_argument("--overwrite", action="store_true",
                       help="replace the file if it stands there (default: refuse)")  # fmt: skip
    json(apply, "what was written")

    completion = command("completion", _completion)
    completion.add_argument("shell", choices=_SHELLS, help="the shell to complete for")
    return made


def _commands(made: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    choices = [action.choices for action in made._actions  # noqa: SLF001
               if isinstance(action, argparse._SubParsersAction)]  # noqa: SLF001  # fmt: skip
    return dict(choices[0])


_EPILOG = """\
start:
  featurekit check flights.yaml              is the spec right?
  featurekit plan flights.yaml               what will run where, and why?
  featurekit run flights.yaml --out runs/1   do it
  featurekit COMMAND --help                  more on one command

exit codes:
  0 done   1 a gate failed (leak, parity)   2 bad spec or usage   3 bad data
  4 an engine or the disk failed            130 interrupted

FEATUREKIT_TRACEBACK=1 in the environment shows where an unexpected error comes from.
"""

_HELP = {
    "run": """\
Fit the statistics, write the examples and the SavedModel.

Statistics are fitted on the train split only. The SavedModel is read back in a fresh
process and compared with the written examples before anything is published.

examples:
  featurekit run flights.yaml --out runs/1
  featurekit run flights.yaml --out runs/1 --overwrite --no-tensorflow
  featurekit run flights.yaml --out runs/1 --json | jq .rows.splits

  in Python: fk.open_run("runs/1").examples("train").to_pandas()""",
    "plan": """\
Show what a run would do: where each piece of a feature runs, and why.

Reads the types of the columns, but no rows. One row per piece of a feature: what is
cut at the borders between one row, a full pass, and past rows.

examples:
  featurekit plan flights.yaml
  featurekit plan flights.yaml --picture plan.svg
  featurekit plan flights.yaml --json | jq .features.route""",
    "check": """\
Check a spec against the types of its data; print every problem at once.

One line per problem, file:line first, on standard error; the exit code is 1 when all of
them are leaks and 2 otherwise. A good spec gives one line on standard output.

examples:
  featurekit check flights.yaml
  featurekit check flights.yaml --json | jq .problems""",
    "schema": """\
Print the types of all columns, declared or inferred, as YAML to paste.

Types that a spec does not declare are inferred from the data on every run. Frozen into
the spec, they make new data that differs an error.

examples:
  featurekit schema flights.yaml
  featurekit schema flights.yaml --freeze""",
    "apply": """\
Transform new rows with the frozen statistics of a run; needs no TensorFlow.

Rows come out in the order they went in: the keys that are there, then all features.

examples:
  featurekit apply runs/1 new.parquet --out features.parquet
  featurekit apply runs/1 'new/*.csv' --out features.csv --overwrite""",
    "completion": """\
Print a script that teaches your shell to complete featurekit.

examples:
  bash:  featurekit completion bash > ~/.local/share/bash-completion/completions/featurekit
  zsh:   featurekit completion zsh > ~/.zfunc/_featurekit   (with ~/.zfunc in fpath)
  tcsh:  featurekit completion tcsh > ~/.featurekit.tcsh    (sourced in ~/.tcshrc)
  fish:  featurekit completion fish > ~/.config/fish/completions/featurekit.fish""",
}


def _tensorflow(arguments: argparse.Namespace) -> bool | None:
    return False if arguments.no_tensorflow else None


@contextmanager
def _progress(shown: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Give a function that draws stages as a bar on a terminal, whose clock goes on by itself."""
    if not shown or not sys.stderr.isatty():
        yield None
        return
    import threading

    from tqdm import tqdm

    form = "{percentage:3.0f}% |{bar:24}| stage {n_fmt} of {total_fmt}  {elapsed}  {desc}"
    ended = threading.Event()
    with tqdm(bar_format=form, file=sys.stderr, leave=False, dynamic_ncols=True) as bar:

        def tell(event: Progress) -> None:
            bar.total, bar.n = event.stages, event.done
            bar.set_description_str(event.text)

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


def _summary(done: Run, arguments: argparse.Namespace) -> Iterator[str]:
    manifest, out = done.manifest, arguments.out
    rows, seconds = manifest["rows"], manifest["seconds"]
    splits = ", ".join(f"{name} {count:,}" for name, count in rows["splits"].items())
    left_out = (
        f"; {rows['without_label']:,} without a label left out" if rows["without_label"] else ""
    )
    yield f"{out}: {_count(len(done.features), 'feature')} of {_count(rows['written'], 'row')}"
    yield f"  rows        {splits}{left_out}"
    if rows["nan_read_as_missing"]:
        counts = ", ".join(
            f"{name} {count:,}" for name, count in rows["nan_read_as_missing"].items()
        )
        yield f"  NaN         read as missing: {counts}"
    yield f"  examples    {out}/examples"
    saved = manifest["saved_model"]
    if saved["exported"]:
        sampled = manifest["parity"]["rows"]
        yield f"  SavedModel  {out}/transform_fn, equal to the examples in {_count(sampled, 'sampled row')}"
    else:
        yield f"  SavedModel  none: {saved['reason']}"
    laps = ", ".join(f"{name.replace('_', ' ')} {value:.1f} s" for name, value in seconds.items())
    yield f"  time        {laps}"
    yield "next:"
    yield f"  featurekit plan {arguments.spec} --picture plan.svg"
    yield f"  featurekit apply {out} NEW_ROWS.parquet --out features.parquet"
    yield f"  python -c 'import featurekit as fk; print(fk.open_run(\"{out}\").examples().to_polars())'"


def _write_picture(name: str, svg: str) -> None:
    from pathlib import Path

    from featurekit.artifact import new_file

    path = Path(name)
    if path.suffix.lower() != ".svg":
        raise UsageError("a picture is an .svg file", where=name)
    with new_file(path, overwrite=True) as temporary:
        temporary.write_text(svg, "utf-8")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _report(error: FeatureKitError, arguments: argparse.Namespace) -> int:
    """Print an error that was raised on purpose; return its exit code."""
    if arguments.json:
        _write_json(error.to_dict())
    elif isinstance(error, SpecErrors):
        for problem in error.problems:
            _print(sys.stderr, _one_line(str(problem)))
        _complain(f"{_count(len(error.problems), 'problem')} in {arguments.spec}")
    else:
        _complain(_one_line(str(error)))
    return error.exit_code


def _unexpected(error: BaseException, arguments: argparse.Namespace) -> int:
    kind, said = type(error).__name__, _one_line(str(error)) or "no message"
    if arguments.json:
        _write_json({"error": kind, "where": "", "message": said, "hint": _REPORT})
    else:
        _complain(f"unexpected {kind}: {said}. {_REPORT}")
    return UNEXPECTED


_REPORT = "This is a bug: please report it with the spec and what FEATUREKIT_TRACEBACK=1 prints"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _complain(text: str) -> None:
    _print(sys.stderr, f"featurekit: error: {text}")


def _write(*lines: str) -> None:
    for line in lines:
        _print(sys.stdout, line)


def _write_json(data: Any) -> None:
    import json

    _print(sys.stdout, json.dumps(data, indent=2, allow_nan=False))


def _print(stream: Any, text: str) -> None:
    """Print text whose names may be hostile: no control character reaches the terminal."""
    safe = "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text
    )
    stream.write(f"{safe}\n")


if __name__ == "__main__":
    sys.exit(main())
