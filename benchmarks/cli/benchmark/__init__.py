"""`lits-deploy benchmark BUNDLE`, and beside it `benchmark compare` and `benchmark page`. One module a command.

A first word that is none of the commands is a bundle: `benchmark BUNDLE …` is `benchmark run BUNDLE …`. A bundle that
bears a command's name is given as `./compare`.
"""

from __future__ import annotations

from typing import Any

from lits_deploy.cli.lazy import LazyCommands, group

COMMANDS = {
    "run": ("benchmarks.cli.benchmark.run", "Measure a bundle on this machine; `benchmark BUNDLE` means the same."),
    "compare": (
        "benchmarks.cli.benchmark.compare",
        "Compare two benchmarks, before and after: exits 1 on a regression.",
    ),
    "page": (
        "benchmarks.cli.benchmark.page",
        "Draw one page from several benchmarks, with the frontier over all of them.",
    ),
}


class _BenchmarkCommands(LazyCommands):
    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] not in (*COMMANDS, "--help", "-h"):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Help shows the options of `run` too, since that is what most people look for."""
        self.format_commands(ctx, formatter)
        run = self.get_command(ctx, "run")
        run.format_options(ctx, formatter)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Their exit codes, too."""
        self.get_command(ctx, "run").format_epilog(ctx, formatter)


app = group(
    COMMANDS,
    "Measure latency, throughput, memory and accuracy of a bundle on this machine, and compare measurements.\n\n"
    "Scenarios follow MLPerf Inference. Candidates take turns, inputs are distinct, no outlier is dropped, and too "
    "few calls give no percentile.",
    base=_BenchmarkCommands,
    subcommand_metavar="BUNDLE [OPTIONS] | COMMAND …",
)
