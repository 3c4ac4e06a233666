"""`lits-deploy merge`: shards that are done, in; tables, page and masks out, as one machine would have written them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import typer

from lits_deploy import exits
from lits_deploy.cli import locations, logging_options, patients, run_options
from lits_deploy.cli.lazy import exit_codes

if TYPE_CHECKING:  # the command's help needs no pipeline
    from lits_deploy.pipeline.options import ClassifyOptions
    from lits_deploy.sharding.merge import MergeSummary

_SHOWN = 10


@exit_codes("0 done", "1 some files failed", "130 some shards are missing: the tables hold the others")
@logging_options.reported("merge")
@patients.guarded
@run_options.with_run(
    *("runtime", "device", "precision", "artifact", "batch_size", "workers", "threads", "tune", "engine_cache"),
    *("recursive", "follow_links", "retry_failed", "abstain", "operating_point", "identify", "pseudonymous"),
    *("any_body_part", "trust", "time_limit_s", "memory_limit_mib"),
    salt_file=typer.Option(
        None,
        help="The salt that JOB was planned with. [default: $LITS_DEPLOY_SALT_FILE, or the text in $LITS_DEPLOY_SALT]",
    ),
)
def merge(
    job: str = typer.Argument(..., metavar="JOB", help="A plan of `lits-deploy plan`, whose shards are done."),
    bundle: str | None = typer.Argument(
        None, help="The job's bundle, which draws pictures that no shard has. Seldom needed."
    ),
    out: str | None = run_options.OUT,
    allow_mixed: bool = typer.Option(
        False, "--allow-mixed", help="Accept shards that were answered on different hardware or runtimes, and mark OUT."
    ),
    report: bool = typer.Option(True, help="Write report.html, with pictures of suspicious slices."),
    masks: str = run_options.MASKS,
    *,
    options: ClassifyOptions,
    as_json: bool = run_options.AS_JSON,
) -> None:
    """Merge the shards of a plan into the output folder that one machine would have written.

    Says which shards are missing or failed; the same command continues once they are done. OUT can be merged into again
    after JOB was planned again, and `classify BUNDLE SCANS --out OUT` with the same salt continues it, too.
    """
    from lits_deploy.bundle import Bundle
    from lits_deploy.cli.console import print_json, progress_bar, warn
    from lits_deploy.cli.summaries import run_document
    from lits_deploy.pipeline.context import RunHooks
    from lits_deploy.pipeline.stop import stop_on_signals
    from lits_deploy.sharding.job_folder import JobFolder
    from lits_deploy.sharding.merge import MergeOptions
    from lits_deploy.sharding.merge import merge as merge_shards

    opened = None if bundle is None else Bundle.open(locations.bundle_at(bundle))
    said: list[str] = []
    with locations.results_at(out, options) as (folder, options):
        with progress_bar() as bar, stop_on_signals() as stop:
            show = run_options.progress_shown(bar, "merge", stop, last="writing tables")
            summary = merge_shards(
                JobFolder(job),
                folder,
                options=options,
                bundle=opened,
                asked=MergeOptions(allow_mixed=allow_mixed, report=report, masks=run_options.names(masks)),
                hooks=RunHooks(stop=stop, on_progress=show),
                say=said.append,
            )
        for warning in (*summary.run.warnings, *said):
            warn(warning)
        if as_json:
            failures = {str(number): why for number, why in summary.failures.items()}
            print_json({**run_document(out, summary.run, summary.segmented), "failures": failures})
        else:
            print_merge(summary)
        if stop.requested:
            raise typer.Exit(stop.exit_code)
        raise typer.Exit(exits.of_signal(signal.SIGINT) if summary.missing else exits.of_failures(summary.run.news))


def print_merge(summary: MergeSummary) -> None:
    """The run's summary, and what is not in it."""
    from lits_deploy.cli.console import note
    from lits_deploy.cli.summaries import print_masks, print_summary
    from lits_deploy.events.wording import Quoting

    if summary.segmented is not None:
        print_masks(summary.segmented)
    count = f"{summary.shards - len(summary.missing):,} of {summary.shards:,} shards"
    print_summary(summary.run, done=f"{count}, {summary.merged:,} of them merged now in {summary.run.seconds:,.1f} s")
    for number in [number for number in summary.missing if number in summary.failures][:_SHOWN]:
        note(Quoting(f"shard {number} failed: {summary.failures[number]}", logged=f"shard {number} failed"))
    if summary.missing:
        numbers = ", ".join(map(str, summary.missing[:_SHOWN])) + (" …" if len(summary.missing) > _SHOWN else "")
        note(
            f"Missing shards: {len(summary.missing):,} ({numbers}), with {summary.run.missing:,} files. The tables hold"
            " the others, and the same command goes on once they are done."
        )
