#!/usr/bin/env python3
"""Draws docs/round-trip.svg: round trips between two processes by mechanism, with intervals, from a summary.csv.

Usage:  scripts/data/picture.py FOLDER >docs/round-trip.svg
Needs:  python3, nothing else.
Writes: the picture to standard output.

A point is the median over launches, the line through it its 95 % interval, the short upright line the bare hand-over that
was measured between the same two processes. The background is opaque, so that it can be read on a dark page.
"""

import csv
import math
import sys
from pathlib import Path

# Colours of Okabe and Ito, as in src/report/picture.rs.
CLASSES = (("spin", "cross-cpu", "#0072b2", "spinning on two CPUs"), ("block", "same-cpu", "#d55e00", "sleeping, on one CPU"))
LEFT, TOP, WIDTH, STEP = 120, 78, 560, 26


def word(ns):
    return f"{ns:.3g} ns" if ns < 1000 else f"{ns / 1000:.3g} us"


def wide(text):
    """Its width in pixels, in letters of 11."""
    return 6.2 * len(text)


def place(text, span, taken):
    """Where a text begins that stands beside a point: on its right or left, next to it or beyond what is there, where nothing
    else is."""
    right = [span[1], *sorted(end for _, end in taken if end > span[1])]
    left = [span[0], *sorted((start for start, _ in taken if start < span[0]), reverse=True)]
    beside = [start for pair in zip(right, left) for start in (pair[0] + 4, pair[1] - 4 - wide(text))]
    beside += [end + 4 for end in right] + [start - 4 - wide(text) for start in left]
    free = lambda start: all(start > end + 2 or start + wide(text) < begin - 2 for begin, end in taken)
    return next(filter(free, beside), span[1] + 4)


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(Path(sys.argv[1]) / "summary.csv", newline="", encoding="utf-8") as file:
        rows = [
            row
            for row in csv.DictReader(file)
            if row["workload"] == "ping-pong" and row["size"] == "64" and row["parties"] == "process" and row["ns_low"]
        ]
    found = {(row["mechanism"], row["wait"], row["placement"]): row for row in rows}
    of = lambda name, wait, place: found.get((name, wait, place))
    names = sorted({row["mechanism"] for row in rows}, key=lambda name: float((of(name, *CLASSES[0][:2]) or {"ns": "inf"})["ns"]))
    low, high = math.log10(50), math.log10(40_000)
    x = lambda ns: LEFT + WIDTH * (math.log10(ns) - low) / (high - low)
    bottom = TOP + STEP * len(names)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="800" height="{bottom + 70}" viewBox="0 0 800 {bottom + 70}" '
        'font-family="sans-serif" font-size="13" fill="#222">',
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        '<text x="16" y="26" font-size="15" font-weight="bold">Round trip of 64 bytes between two processes</text>',
    ]
    for k, (_, _, colour, text) in enumerate(CLASSES):
        start = 22 + 190 * k
        out.append(f'<circle cx="{start}" cy="46" r="5" fill="{colour}"/><text x="{start + 12}" y="50.5">{text}</text>')
    out.append('<path d="M414 39v14" stroke="#222" stroke-width="2"/><text x="424" y="50.5">bare hand-over of the same two</text>')
    for ns in (100, 1000, 10_000):
        out.append(f'<path d="M{x(ns):.1f} {TOP - 8}V{bottom}" stroke="#ddd"/>')
        out.append(f'<text x="{x(ns):.1f}" y="{bottom + 20}" text-anchor="middle">{word(ns)}</text>')
    for k, name in enumerate(names):
        y = TOP + STEP * k + 8
        out.append(f'<text x="{LEFT - 14}" y="{y + 4.5}" text-anchor="end">{name}</text>')
        marks, taken = [], [(0, LEFT - 12)]
        for wait, placement, colour, _ in CLASSES:
            row = of(name, wait, placement)
            if row is None:
                continue
            ns, ends, floor = float(row["ns"]), [float(row[key]) for key in ("ns_low", "ns_high")], row["handover_rtt_ns"]
            if floor:
                at = x(float(floor))
                out.append(f'<path d="M{at:.1f} {y - 7}v14" stroke="{colour}" stroke-width="2"/>')
                taken.append((at - 2, at + 2))
            out.append(f'<path d="M{x(ends[0]):.1f} {y}H{x(ends[1]):.1f}" stroke="{colour}" stroke-width="2.5"/>')
            out.append(f'<circle cx="{x(ns):.1f}" cy="{y}" r="5" fill="{colour}"/>')
            span = (min(x(ends[0]), x(ns) - 5), max(x(ends[1]), x(ns) + 5))
            taken.append(span)
            marks.append((word(ns), span))
        for text, span in marks:
            left = place(text, span, taken)
            taken.append((left, left + wide(text)))
            out.append(f'<text x="{left:.1f}" y="{y + 4.5}" font-size="11" fill="#555">{text}</text>')
    out.append(
        f'<text x="16" y="{bottom + 50}" font-size="12" fill="#555">Median over six launches with its 95 % interval; '
        "logarithmic. AMD EPYC, a virtual machine with two CPUs.</text>"
    )
    print("\n".join([*out, "</svg>"]))


if __name__ == "__main__":
    main()
