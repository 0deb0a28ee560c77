"""Medians, spread, the table and the JSON."""
import statistics

NOISY = 0.10
"""Share of the machine that others may take before the report says so."""
LIMITS = {
    "generator": "the load generator was at its own limit: the servers could do more",
    "cores": "every core was busy: what the load generator took was not there for the servers",
    "rate": "clients came at a given rate: nothing was at its limit",
    "held": "connections were only held: nothing was at its limit",
    "server": "cores and load generator had time left: the servers, or the way to them, were the limit",
}


def spread(values):
    """Median, least and most of what is there; `None` if nothing is."""
    values = [value for value in values if value is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": values}


def versus(measured, reference, column):
    """forkfront's figure against this one's, round by round: each pair ran within seconds of each other."""
    if reference is None or measured is reference or not column.compare:
        return None
    pairs = []
    for ours, its in zip(reference.samples, measured.samples):
        one, other = ours.get(column.key), its.get(column.key)
        if one is None or other is None or (column.compare == "ratio" and not other):
            continue
        pairs.append(one / other if column.compare == "ratio" else one - other)
    return spread(pairs)


def summary(group):
    """What a group found, ready for JSON."""
    question = group.question
    reference = next((one for one in group.measured if one.peer == question.reference), None)
    results = []
    for one in group.measured:
        failed = {}
        for sample in one.samples:
            for kind, count in sample["failed"].items():
                failed[kind] = failed.get(kind, 0) + count
        limits = [sample["limit"] for sample in one.samples]
        results.append({
            "question": question.name,
            "server": one.server,
            "peer": one.peer,
            "rounds": len(one.samples),
            "seconds": group.seconds,
            "figures": {column.key: spread([s.get(column.key) for s in one.samples]) for column in question.columns},
            "forkfront_against_it": versus(one, reference, question.columns[0]),
            "answered": sum(sample["answered"] for sample in one.samples),
            "failed": failed,
            "limited_by": statistics.mode(limits),
            "generator_cores": spread([sample["generator"] for sample in one.samples]),
            "server_cores": spread([sample["servers"] for sample in one.samples]),
            "others_share": spread([sample["others"] for sample in one.samples]),
        })
    return results


def table(question, title, results, missing, about):
    """The table of one question, as text."""
    lines = [f"{question.name}: {title}", ""]
    by_server = {}
    for result in results:
        by_server.setdefault(result["server"], []).append(result)
    for server, rows in by_server.items():
        lines += [f"  {server}: {about[server]}", *grid(question, rows), ""]
    for one in missing:
        lines.append(f"  not measured: {one['peer']} with {one['server']}: {one['reason']}")
    lines += notes(results)
    return "\n".join(lines) + "\n"


def grid(question, rows):
    """Headings and one line per peer, aligned."""
    first, *others = question.columns
    how = {"ratio": "forkfront/it", "difference": "forkfront-it", "": ""}[first.compare]
    heads = ["peer", first.heading, "least..most", how, *[column.heading for column in others], "failed", "load gen", "limit"]
    body = []
    for row in rows:
        main = row["figures"][first.key]
        cells = [row["peer"], number(main, first), between(main, first), against(row, first)]
        cells += [number(row["figures"][column.key], column) for column in others]
        body.append([*cells, failures(row), f"{row['generator_cores']['median']:.2f}", row["limited_by"]])
    return align([heads, *body])


def align(rows):
    """The first column to the left, the last one as it is, figures to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1])]
        lines.append("    " + "  ".join([*cells, row[-1]]).rstrip())
    return lines


def number(figure, column):
    """A median."""
    return "-" if figure is None else f"{figure['median']:,.{column.digits}f}"


def between(figure, column):
    """Its spread."""
    return "-" if figure is None else f"{figure['min']:,.{column.digits}f}..{figure['max']:,.{column.digits}f}"


def against(row, column):
    """forkfront against this peer, with its spread."""
    figure = row["forkfront_against_it"]
    if figure is None:
        return "-"
    if column.compare == "ratio":
        return f"{figure['median']:.2f}x ({figure['min']:.2f}..{figure['max']:.2f})"
    return f"{figure['median']:+,.0f} ({figure['min']:+,.0f}..{figure['max']:+,.0f})"


def failures(row):
    """How many requests failed, and how."""
    if not row["failed"]:
        return "0"
    return " ".join(f"{kind}:{count}" for kind, count in row["failed"].items())


def legend(results):
    """What the words in the last column mean, as far as they occur."""
    used = {result["limited_by"] for result in results}
    return "\n".join(f"limit {word}: {LIMITS[word]}" for word in LIMITS if word in used)


def notes(results):
    """How much a table is worth: rounds, and what disturbed."""
    rounds = sorted({result["rounds"] for result in results})
    lines = []
    if rounds:
        count = str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}"
        lines.append(f"  medians of {count} interleaved round{'s' if rounds[-1] > 1 else ''} of {results[0]['seconds']} s")
    if rounds and rounds[0] < 3:
        lines.append("  fewer than 3 rounds: take no figure from it")
    others = max((result["others_share"]["max"] for result in results), default=0)
    if others > NOISY:
        lines.append(f"  NOT QUIET: others on this machine, or on its host, took up to {others:.0%} of it meanwhile; ask again when it is")
    if any(result["failed"] for result in results):
        lines.append("  some requests failed (see the column): compare their rates with care")
    return lines
