"""The picture: for each question and server a bar per peer, its median as the length, its spread as a whisker."""
from textwrap import wrap
from xml.sax.saxutils import escape

WIDTH = 620
"""Of one column; a second one beside it where there are many panels."""
LABEL = 130
BAR = 380
ROW = 22
HEAD, FOOT = 34, 26
LETTER = 5.6
"""Of the caption, about."""
MANY = 5
OURS, THEIRS, INK, FAINT = "#c2410c", "#94a3b8", "#1e293b", "#64748b"


def picture(panels, caption):
    """SVG text. A panel is (title, heading, [(peer, figure, digits, is ours)])."""
    columns = 2 if len(panels) >= MANY else 1
    parts, ends = [], [24] * columns
    for panel in panels:
        at = ends.index(min(ends))
        parts.append(f'<g transform="translate({at * WIDTH} {ends[at]})">')
        parts += [*drawn(*panel), "</g>"]
        ends[at] += HEAD + ROW * len(panel[2]) + FOOT
    y = max(ends)
    fits = int((WIDTH * columns - 32) / LETTER)
    for line in [part for line in caption.splitlines() for part in wrap(line, fits)]:
        parts.append(text(16, y, line, 10, FAINT))
        y += 14
    width = WIDTH * columns
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}" '
        'font-family="system-ui, sans-serif">'
    )
    return "\n".join([head, f'<rect width="{width}" height="{y}" fill="#ffffff"/>', *parts, "</svg>", ""])


def drawn(title, heading, bars):
    """One question with one server."""
    parts = [text(16, 0, title, 13, INK, "bold"), text(16, 16, heading, 11, FAINT)]
    most = max((figure["max"] for _, figure, _, _ in bars), default=0) or 1
    for at, (peer, figure, digits, ours) in enumerate(bars):
        parts += bar(peer, figure, digits, ours, most, HEAD - 8 + at * ROW)
    return parts


def bar(peer, figure, digits, ours, most, y):
    """One peer."""
    scale = BAR / most
    length, low, high = (figure[key] * scale for key in ("median", "min", "max"))
    middle = y + (ROW - 5) / 2
    return [
        text(LABEL, y + 13, peer, 12, INK, "bold" if ours else "normal", "end"),
        f'<rect x="{LABEL + 8}" y="{y}" width="{max(length, 1):.1f}" height="{ROW - 5}" rx="2" '
        f'fill="{OURS if ours else THEIRS}"/>',
        f'<path d="M{LABEL + 8 + low:.1f} {middle} H{LABEL + 8 + high:.1f}" stroke="{INK}" stroke-width="1.5"/>',
        text(LABEL + 16 + max(length, high), y + 13, f"{figure['median']:,.{digits}f}", 12, INK),
    ]


def text(x, y, words, size, fill, weight="normal", anchor="start"):
    """One line of text."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" font-weight="{weight}" '
        f'text-anchor="{anchor}">{escape(words)}</text>'
    )
