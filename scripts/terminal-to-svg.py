#!/usr/bin/env python3
"""Turns the coloured output of a command into an SVG picture, for the README.

    CLICOLOR_FORCE=1 strowger demo | scripts/terminal-to-svg.py --title "strowger demo" > docs/demo.svg

Lines and arrow heads are drawn, not written, so the picture looks the same whatever fonts the reader has.
"""

import argparse
import html
import re
import sys

COLUMN, ROW, SIZE, MARGIN, BAR = 8.4, 19, 14, 20, 36
GROUND, TEXT, FRAME = "#14171c", "#d7dae0", "#2a2f37"
COLOURS = {31: "#f47067", 32: "#7ee787", 33: "#e3b341", 35: "#d2a8ff", 36: "#79c0ff"}
DIM, BRIGHT = "#768390", "#ffffff"
SEQUENCE = re.compile(r"\x1b\[([0-9;]*)m")
DRAWN = "│─═▶◀"


def runs(line):
    """(column, text, colour, bold) for each stretch of equal look; drawn symbols stand alone by kind."""
    column, colour, bold = 0, TEXT, False
    for index, part in enumerate(SEQUENCE.split(line)):
        if index % 2:
            for code in (int(code or 0) for code in part.split(";")):
                if code == 0:
                    colour, bold = TEXT, False
                elif code == 1:
                    bold, colour = True, BRIGHT if colour == TEXT else colour
                elif code == 2:
                    colour = DIM
                elif code in COLOURS:
                    colour = COLOURS[code]
            continue
        for stretch in re.findall(r"│|─+|═+|▶|◀|[^│─═▶◀]+", part):
            yield column, stretch, colour, bold
            column += len(stretch)


def drawing(column, row, stretch, colour):
    """SVG of one run of drawn symbols."""
    x, y = MARGIN + column * COLUMN, BAR + MARGIN + row * ROW
    middle, end = y + ROW / 2, x + len(stretch) * COLUMN
    if stretch[0] == "│":
        return f'<path d="M{x + COLUMN / 2:.1f} {y}v{ROW}" stroke="{colour}"/>'
    if stretch[0] == "─":
        return f'<path d="M{x:.1f} {middle}H{end:.1f}" stroke="{colour}"/>'
    if stretch[0] == "═":
        return f'<path d="M{x:.1f} {middle - 2}H{end:.1f}M{x:.1f} {middle + 2}H{end:.1f}" stroke="{colour}"/>'
    tip, tail = (end, x) if stretch == "▶" else (x, end)
    return f'<path d="M{tail:.1f} {middle - 4.5}L{tip:.1f} {middle}L{tail:.1f} {middle + 4.5}Z" fill="{colour}"/>'


def picture(lines, title):
    width = 2 * MARGIN + max([100, *(len(SEQUENCE.sub("", line)) for line in lines)]) * COLUMN
    height = BAR + 2 * MARGIN + len(lines) * ROW
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" '
        f'height="{height}" role="img" aria-label="{html.escape(title)}">'
    )
    yield f'<rect width="100%" height="100%" rx="10" fill="{GROUND}" stroke="{FRAME}"/>'
    for index, colour in enumerate(("#ff5f57", "#febc2e", "#28c840")):
        yield f'<circle cx="{22 + 20 * index}" cy="{BAR / 2 + 4}" r="6" fill="{colour}"/>'
    yield '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace"'
    yield f' font-size="{SIZE}" stroke-width="1.3" fill="{TEXT}">'
    yield f'<text x="50%" y="{BAR / 2 + 9}" text-anchor="middle" fill="{DIM}">{html.escape(title)}</text>'
    for row, line in enumerate(lines):
        for column, stretch, colour, bold in runs(line):
            if stretch[0] in DRAWN:
                yield drawing(column, row, stretch, colour)
                continue
            text = stretch.strip()
            if not text:
                continue
            start = column + len(stretch) - len(stretch.lstrip())
            x, y = MARGIN + start * COLUMN, BAR + MARGIN + row * ROW + ROW / 2 + 5
            weight = ' font-weight="600"' if bold else ""
            # The length is fixed, so that columns stay columns in whatever font this is shown.
            yield (
                f'<text x="{x:.1f}" y="{y}" textLength="{len(text) * COLUMN:.1f}" lengthAdjust="spacingAndGlyphs" '
                f'xml:space="preserve" fill="{colour}"{weight}>{html.escape(text)}</text>'
            )
    yield "</g></svg>"


def main():
    parser = argparse.ArgumentParser(description="Coloured terminal output to SVG.")
    parser.add_argument("--title", default="strowger")
    title = parser.parse_args().title
    lines = sys.stdin.read().rstrip("\n").split("\n")
    print("\n".join(picture(lines, title)))


if __name__ == "__main__":
    main()
