"""What `featurekit --help` says of each command, in whole sentences and by examples."""

from __future__ import annotations

__all__ = ["EPILOG", "HELP", "ROLES"]

ROLES = {
    "label": "the label; a table needs to be told (default: the label of the spec)",
    "split": "the split, of a table: train and other values (default: none, or that of the spec)",
    "entity": "whose row it is; a key of the spec (default: the key that aggregations go by)",
    "time": "when the prediction is made; a key of the spec (default: as predict_at or split say)",
}

EPILOG = """\
start:
  featurekit check flights.yaml              is the spec right?
  featurekit plan flights.yaml               what will run where, and why?
  featurekit run flights.yaml --out runs/1   do it
  featurekit COMMAND --help                  more on one command

exit codes:
  0 done   1 a gate failed (leak, parity)   2 bad spec or usage   3 bad data
  4 an engine or the disk failed   5 over a budget   130 interrupted
  129, 143 ended by SIGHUP, SIGTERM

FEATUREKIT_TRACEBACK=1 in the environment shows where an unexpected error comes from.
"""

HELP = {
    "run": """\
Fit the statistics, write the examples and the SavedModel.

Statistics are fitted on the train split only. The SavedModel is read back in a fresh
process and compared with the written examples before anything is published.

examples:
  featurekit run flights.yaml --out runs/1
  featurekit run flights.yaml --out runs/1 --overwrite --no-tensorflow
  featurekit run flights.yaml --out runs/1 --json | jq .rows.splits
  featurekit run flights.yaml --out runs/1 --engine gcp --project p --dataset d --load
  featurekit run flights.yaml --out runs/1 --engine beam -- --direct_num_workers=2 \\
      --direct_running_mode=multi_processing

  in Python: fk.open_run("runs/1").examples("train").to_pandas()""",
    "plan": """\
Show what a run would do: where each piece of a feature runs, and why.

Reads the types of the columns, but no rows. One row per piece of a feature: what is
cut at the borders between one row, a full pass, and past rows.

examples:
  featurekit plan flights.yaml
  featurekit plan flights.yaml --picture plan.svg
  featurekit plan flights.yaml --sql sql
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
    "verify": """\
Compare every file of a run with its size and hash in the manifest.

The exit code is 0 when all files are those that were written, and 1 when one is missing,
changed or added, or when the run is of a version that wrote no hashes.

examples:
  featurekit verify runs/1
  featurekit verify runs/1 --json | jq .problems
  featurekit verify runs/1 && featurekit apply runs/1 new.parquet --out features.parquet

  in Python: fk.open_run("runs/1").verify().whole""",
    "snapshot": """\
Write what aggregations and lookups know of every key at a time.

For batch prediction, or to fill an online store: the values that training would have
seen, were a prediction made at that time.

examples:
  featurekit snapshot flights.yaml --as-of 2013-12-01 --out snapshots/december
  featurekit snapshot flights.yaml --as-of 2013-12-01T06:00-05:00 --out now --only tail""",
    "leakage": """\
Look for features that know more of the label than they can.

A spec is computed first, without TensorFlow, and nothing of it is kept; leaks that the spec
alone shows are refused as in check. What is found is suspicious, no more: a strong
legitimate feature looks the same, and when its columns become known settles it. --replay
tests what is declared: it takes the future away, computes the features again, and compares
them.

examples:
  featurekit leakage flights.yaml
  featurekit leakage flights.yaml --replay
  featurekit leakage runs/1 --out leakage.html --fail-on warning
  featurekit leakage 'export/*.parquet' --label churned --entity customer --exclude row_id
  featurekit leakage wine.csv --label cultivar --json | jq '.scan.findings[].kind'""",
    "ablate": """\
Say what features are worth, which of them can go, and how sure that is.

Three kinds of models are asked: linear ones, of which every feature, pair and group is left
out in closed form; your model, while features are shuffled; and your model, trained again
without each. The report ends with a smaller set of features and what it scores on rows that
were kept apart. Trainings are kept in a file: the same command goes on where it ended.

examples:
  featurekit ablate runs/1 --out ablation.html
  featurekit ablate runs/1 --tier linear --write-spec smaller.yaml --spec flights.yaml
  featurekit ablate runs/1 --model mymodels:make --metric roc_auc --budget 2h --out ablation.html
  featurekit ablate wine.csv --label cultivar --exclude wine --budget 1m --json | jq .proposal
  featurekit ablate runs/1 --engine beam -- --runner=FlinkRunner""",
    "completion": """\
Print a script that teaches your shell to complete featurekit.

examples:
  bash:  featurekit completion bash > ~/.local/share/bash-completion/completions/featurekit
  zsh:   featurekit completion zsh > ~/.zfunc/_featurekit   (with ~/.zfunc in fpath)
  tcsh:  featurekit completion tcsh > ~/.featurekit.tcsh    (sourced in ~/.tcshrc)
  fish:  featurekit completion fish > ~/.config/fish/completions/featurekit.fish""",
}
