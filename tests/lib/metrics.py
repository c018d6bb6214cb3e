"""Reads the Prometheus text of /metrics."""

import re
import urllib.request

LINE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def read(origin):
    """{name: [(labels, value), …]}"""
    with urllib.request.urlopen(origin + "/metrics", timeout=20) as answer:
        text = answer.read().decode()
    table = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match and not line.startswith("#"):
            name, labels, value = match.groups()
            table.setdefault(name, []).append((dict(LABEL.findall(labels or "")), float(value)))
    return table


def total(table, name, **labels):
    """Sum over all lines of `name` that carry `labels`; an unknown name is an error, not a zero."""
    assert name in table, f"/metrics has no {name}; it has {', '.join(sorted(table))}"
    return sum(value for found, value in table[name] if all(found.get(k) == v for k, v in labels.items()))
