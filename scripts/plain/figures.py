"""From times to ratios, intervals, verdicts and tables."""

import math
import statistics

TARGET_RATIO = 1.05
MET, OPEN, MISSED, UNJUDGED = "met", "not shown", "missed", "-"
# What there is to say where nothing was aimed at.
LESS, MORE, EITHER = "less", "more", "no effect shown"


def interval(values):
    """Order-statistic interval for the median and its coverage: the narrowest that covers 95 %, else the widest."""
    values, n = sorted(values), len(values)
    outside = 0.0
    low, coverage = 0, 1 - 2 * 0.5**n
    for k in range(n // 2):
        outside += math.comb(n, k) * 0.5**n
        if 1 - 2 * outside < 0.95 and k > 0:
            break
        low, coverage = k, 1 - 2 * outside
    return values[low], values[n - 1 - low], max(coverage, 0.0)


def verdict(low, high, coverage, target=TARGET_RATIO):
    """The whole interval decides; one that holds the target shows nothing, nor does one of too few launches."""
    if coverage < 0.95:
        return OPEN
    if high < target:
        return MET
    return MISSED if low > target else OPEN


def effect(low, high, coverage):
    """Whether the whole interval is on one side of no effect."""
    kind = verdict(low, high, coverage, 1)
    return {MET: LESS, MISSED: MORE}.get(kind, EITHER)


def summary(row, launches):
    ratios = [statistics.median(x / y for x, y in times) for _, times in launches]
    low, high, coverage = interval(ratios)
    typical = [statistics.median(statistics.median(t[i] for t in times) for _, times in launches) for i in (0, 1)]
    return {
        "name": row.name,
        "mechanism": row.mechanism,
        "workload": row.workload,
        "size": row.size,
        "wait": row.wait,
        "placement": row.placement,
        "a": row.a.label,
        "b": row.b.label,
        "a_ns": typical[0],
        "b_ns": typical[1],
        "ratio": statistics.median(ratios),
        "low": low,
        "high": high,
        "coverage": coverage,
        "verdict": verdict(low, high, coverage) if row.judged else UNJUDGED,
        "launches": [
            {"messages": messages, "ratio": ratio, "pairs_ns": times}
            for (messages, times), ratio in zip(launches, ratios)
        ],
    }


def figure(ns):
    return f"{ns:.0f}" if ns >= 1000 else f"{ns:.3g}"


HEAD = ("comparison (A / B)", "n", "A ns", "B ns", "A/B", "interval", "verdict")


def cells_of(row):
    span = f"{row['low']:.3f} .. {row['high']:.3f}"
    times = figure(row["a_ns"]), figure(row["b_ns"])
    return row["name"], str(len(row["launches"])), *times, f"{row['ratio']:.3f}", span, row["verdict"]


def by_mechanism(rows):
    """Each judged mechanism with how many rows met the target, did not show it, missed it, and its largest ratio."""
    found = {}
    for row in rows:
        if row["verdict"] != UNJUDGED:
            found.setdefault(row["mechanism"], []).append(row)
    for mechanism, own in found.items():
        count = [sum(row["verdict"] == kind for row in own) for kind in (MET, OPEN, MISSED)]
        worst = max(own, key=lambda row: row["ratio"])
        yield mechanism, *map(str, count), f"{worst['ratio']:.3f}", worst["name"]


MECHANISM_HEAD = ("mechanism", MET, OPEN, MISSED, "largest A/B", "where")


def text_table(head, body):
    widths = [max(len(line[i]) for line in [head, *body]) for i in range(len(head))]
    for line in [head, *body]:
        cells = [c.ljust(w) if i in (0, len(head) - 1) else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))]
        yield "  ".join(cells).rstrip()


def markdown_table(head, body):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "|".join("---" if i in (0, len(head) - 1) else "---:" for i in range(len(head))) + "|"
    for line in body:
        yield "| " + " | ".join(line) + " |"


def explanation(settings):
    longer = ", ".join(f"{times} times as long for {name}" for name, times in settings["longer"].items())
    longer = f" ({longer}, and half as many)" if longer else ""
    first, all_of_them = settings["launches"], settings["launches"] + settings["more"]
    more = f" ({all_of_them} where {first} showed nothing)" if settings["more"] else ""
    twice = " at each look, and about 94 % where there were two" if settings["more"] else ""
    return (
        f"A is ipcost and B the plain program unless the name says otherwise; ns per message (ping-pong: per round\n"
        f"trip). A/B: median over {settings['launches']} fresh launches{more} of the median over "
        f"{settings['pairs']} pairs of\n{settings['window_ms']} ms windows{longer}; "
        "above 1 A is slower.\n"
        f"Interval: order statistics over launches, coverage at least {settings['coverage']:.0%}{twice}. Verdict against "
        f"{TARGET_RATIO}: {MET} where the whole\ninterval is below, {MISSED} where it is above, {OPEN} where it holds "
        f"the target or covers less than 95 %."
    )


def markdown(rows, absent, settings):
    """The document that is kept beside the numbers."""
    lines = ["# ipcost beside plain programs", ""]
    lines += [f"- {name}: {value}" for name, value in settings["machine"].items()]
    lines += ["", *explanation(settings).splitlines(), "", "## Mechanisms", ""]
    lines += markdown_table(MECHANISM_HEAD, list(by_mechanism(rows)))
    lines += ["", "## Comparisons", ""]
    lines += markdown_table(HEAD, [cells_of(row) for row in rows])
    if absent:
        lines += ["", "## Not compared", ""]
        lines += [f"- {name}: {why}" for name, why in absent.items()]
    return "\n".join(lines) + "\n"
