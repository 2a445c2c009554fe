#!/usr/bin/env python3
"""Reads results folders, one or a hundred, and prints each cell per host: median, interval, spread, multiple of its floor.

Usage:  scripts/data/read.py FOLDER...               (the shell expands 'results/*/*')
        scripts/data/read.py --only shm-ring --only "ping-pong 64" 'results/*/*'
        scripts/data/read.py --check FOLDER...       against the summary.csv that `ipcost report` made
Needs:  python3, nothing else.
Writes: nothing.

Which runs count: those with status "ok" and without a flag. --flagged also takes runs that something may have disturbed (as
`summary.csv` does), --invalid those that were measured and not believed. What was left out is counted and said.

A figure is elapsed_ns / messages of one launch. Launches of one cell on one host are taken together, also from several
folders; then the medians of the folders are shown, too, because two campaigns may differ by more than their launches do.
Folders without runs (claims, faults) are passed over. docs/DATA.md lists every field.
"""

import argparse
import csv
import glob
import json
import math
import statistics
import sys
from collections import Counter, defaultdict
from pathlib import Path

PLAIN = {"outstanding": "", "batch": "", "peers": ""}


def rate(offered):
    """An offered load as `summary.csv` writes it."""
    if offered is None:
        return ""
    per_s = offered.get("rate")
    if per_s is None:
        return f"sweep {offered['arrivals']}"
    for unit, name in ((1_000_000, "M"), (1000, "k")):
        if per_s % unit == 0:
            return f"{per_s // unit}{name}/s {offered['arrivals']}"
    return f"{per_s}/s {offered['arrivals']}"


def pages(chosen):
    if not chosen:
        return ""
    words = ["populated"] * chosen["populate"] + ["huge"] * chosen["huge"]
    return " ".join(words + ["pages"])


def cell_of(run):
    """What makes two runs the same row, in the words of `summary.csv`."""
    solo = run["parties"] == "solo"
    nagle = ", nagle" if run.get("nagle") and not solo else ""
    return (
        run["workload"],
        str(run["size"]),
        rate(run.get("offered")),
        *(str(run.get(name, absent)) for name, absent in PLAIN.items()),
        run["wait"],
        run["placement"]["requested"],
        run["touch"],
        pages(run.get("pages")),
        run["mechanism"] + nagle,
        "control" if solo else run["parties"],
    )


COLUMNS = ("workload", "size", "offered", *PLAIN, "wait", "placement", "touch", "pages", "mechanism", "parties")


def lines(path):
    """The lines of a journal; one that was cut by a kill is the last and has no end."""
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)
            else:
                print(f"{path}: the last line is cut and was left out", file=sys.stderr)


def interval(values):
    """The order-statistic interval of at least 95 % for the median; None below six values."""
    ordered, n = sorted(values), len(values)
    below, rank = 0.0, None
    for k in range(1, n // 2 + 1):
        below += math.exp(math.lgamma(n + 1) - math.lgamma(k) - math.lgamma(n - k + 2) - n * math.log(2))
        if 1 - 2 * below < 0.95:
            break
        rank = k
    return (ordered[rank - 1], ordered[n - rank]) if rank else None


def ns(value):
    for unit, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:.3g} ns"


def read(folders, take_flagged, take_invalid):
    """Runs by host and cell, and how many were left out and why."""
    cells, left = defaultdict(list), Counter()
    for folder in folders:
        host = json.loads((folder / "host.json").read_text())["slug"]
        for run in lines(folder / "cells.jsonl"):
            believed = run["status"] == "ok" or (take_invalid and run["status"] == "invalid" and run.get("messages"))
            if run["run"]["label"] is not None:
                left["a control of the instrument"] += 1
            elif not believed:
                left[run["status"]] += 1
            elif run["flags"] and not take_flagged:
                left["flagged"] += 1
            else:
                figure = run["elapsed_ns"] / run["messages"]
                cells[host, cell_of(run)].append((folder, figure, run.get("floor", {}).get("multiple")))
    return cells, left


def table(cells, only):
    rows = [("host", "cell", "n", "median", "95 % interval", "smallest-largest", "x floor", "folders")]
    for (host, cell), runs in sorted(cells.items()):
        workload, size, offered, *several, wait, place, touch, paged, mechanism, parties = cell
        named = [f"{name} {n}" for name, n in zip(PLAIN, several) if n]
        words = [f"{workload} {size} B", offered, *named, wait, place, touch if touch != "whole" else "", paged]
        name = ", ".join(word for word in words if word) + f": {mechanism} ({parties})"
        if not all(part in name for part in only):
            continue
        figures = [figure for _, figure, _ in runs]
        bounds = interval(figures)
        floors = [floor for *_, floor in runs if floor is not None]
        by_folder = defaultdict(list)
        for folder, figure, _ in runs:
            by_folder[folder].append(figure)
        medians = [statistics.median(each) for each in by_folder.values()]
        rows.append((
            host,
            name,
            str(len(figures)),
            ns(statistics.median(figures)),
            f"{ns(bounds[0])}-{ns(bounds[1])}" if bounds else "",
            f"{ns(min(figures))}-{ns(max(figures))}",
            f"{statistics.median(floors):.3g}" if floors else "",
            f"{len(medians)}: {ns(min(medians))}-{ns(max(medians))}" if len(medians) > 1 else "1",
        ))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    for row in rows:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths)).rstrip())


def differs(mine, theirs):
    """The CSV file has six significant digits; an absent value is an empty field."""
    if mine is None or theirs == "":
        return (mine is None) != (theirs == "")
    return not math.isclose(mine, float(theirs), rel_tol=1e-5)


def check(folder):
    """Compares with what `ipcost report` made of the same folder; returns what differs."""
    sums = []
    for flagged in (True, False):
        cells, _ = read([folder], flagged, False)
        sums.append({cell: [runs for _, *runs in found] for (_, cell), found in cells.items()})
    with open(folder / "summary.csv", newline="", encoding="utf-8") as file:
        rows = {tuple(row[name] for name in COLUMNS): row for row in csv.DictReader(file)}
    wrong = [f"{cell} is in the runs and not in summary.csv" for cell in sums[0] if cell not in rows]
    for cell, row in rows.items():
        for found, suffix in zip(sums, ("", "_unflagged")):
            figures = [figure for figure, _ in found.get(cell, [])]
            low, high = interval(figures) or (None, None)
            mine = {"ns": statistics.median(figures) if figures else None, "ns_low": low, "ns_high": high}
            if not suffix:
                floors = [floor for _, floor in found.get(cell, []) if floor is not None]
                mine["floor_multiple"] = statistics.median(floors) if floors else None
            else:
                mine = {name.replace("ns", "ns_unflagged", 1): value for name, value in mine.items()}
            wrong += [
                f"{cell}: {name} is {value} here and {row[name]!r} in summary.csv"
                for name, value in mine.items()
                if differs(value, row[name])
            ]
            if str(len(figures)) != row["n" + suffix]:
                wrong.append(f"{cell}: {len(figures)} launches here and {row['n' + suffix]} in summary.csv{suffix}")
    print(f"{folder}: {len(rows)} rows, {len(wrong)} differences")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", metavar="FOLDER", help="a results folder, or a pattern such as 'results/*/*'")
    parser.add_argument("--only", action="append", default=[], metavar="TEXT", help="cells whose name has this; may be repeated")
    parser.add_argument("--flagged", action="store_true", help="also runs that something may have disturbed")
    parser.add_argument("--invalid", action="store_true", help="also runs that were measured and not believed")
    parser.add_argument("--check", action="store_true", help="compare with summary.csv; exit code 1 if anything differs")
    options = parser.parse_args()
    found = sorted({Path(path) for pattern in options.folders for path in glob.glob(pattern)})
    folders = [path for path in found if (path / "cells.jsonl").exists()]
    if not folders:
        sys.exit("error: no folder with a cells.jsonl is among these")
    if options.check:
        wrong = [text for folder in folders for text in check(folder)]
        print(*wrong, sep="\n", end="\n" if wrong else "")
        return 1 if wrong else 0
    cells, left = read(folders, options.flagged, options.invalid)
    table(cells, options.only)
    for why, count in sorted(left.items()):
        print(f"left out: {count} runs, {why}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
