"""The folder comparison as text."""

from __future__ import annotations

from typing import Any

from benchmarks.report import DASH, machine_line, markdown_table, number

WHAT = {
    "ours": "classify (pipeline)",
    "plain": "plain PyTorch script, default layout",
    "plain_cl": "plain PyTorch script, channels_last",
    "bare": "bare ONNX Runtime loop",
}


def lines(values: dict[str, Any]) -> list[str]:
    """Rates by round, then the ratios that the targets are about, with both denominators."""
    rounds, settings = values["rounds"], values["settings"]
    header = [
        "candidate",
        "figure",
        *(f"round {index + 1}" for index in range(len(rounds))),
        "classes ≠ ours",
        "accuracy",
    ]
    rows = []
    for name, what in WHAT.items():
        other = str(values["classes_other_than_ours"].get(name, DASH))
        tail = [other, number(values["accuracy"][name], 3)]
        if name == "bare":
            for batch in rounds[0]["bare"]["slices_per_second"]:
                rates = [number(result["bare"]["slices_per_second"][batch], 1) for result in rounds]
                rows.append([what, f"slices/s, batch {batch}", *rates, *tail])
            continue
        for key, figure in (
            ("slices_per_second", "slices/s of wall"),
            ("steady_slices_per_second", "slices/s, steady"),
        ):
            rows.append([what, figure, *(number(result[name][key], 1) for result in rounds), *tail])
        rows.append([what, "process, s", *(number(result[name]["process_s"], 2) for result in rounds), *tail])
    ratios = [[name, number(value, 3)] for name, value in values["ratios"].items()]
    return [
        *markdown_table((header, rows)),
        "",
        *markdown_table((["ratio", "median of rounds"], ratios), left=1),
        "",
        f"{values['model'].get('name')} {values['artifact']}, {values['scans']}; {settings['threads']} threads each",
        f"ours: batch {settings['our_batch']}, {settings['our_workers']} decode workers; plain: batch "
        f"{settings['plain_batch']}, {settings['plain_workers']} DataLoader workers (better of 1 and 2 by trial)",
        *values["notes"],
        machine_line(values),
        values["disclaimer"],
    ]
