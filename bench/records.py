"""Many records at once: a data folder whose one tenant is copied until there are as many as wanted.

Made over the API they would take an hour; here the database does it by itself while the switch is stopped.
"""

import sqlite3

# Copies are numbered from here, so that no name of one is part of the name of another.
FIRST_COPY = 1_000_000
TABLES = ("domains", "connections", "dial_plans", "dial_rules")
# The names of the first tenant of tests/lib/tenant.py, in columns and in records, and what a copy has instead.
TENANT = "domain = 'd1.example'"
TENANT_NAMES = {
    "d1.example": "d{n}.example",
    "a1.example.net": "a{n}.example.net",
    "b1.example.net": "b{n}.example.net",
}
# More connections of one tenant are known by hosts of their own.
TRUNK = TENANT + " AND orig_match_pattern = 'sip*@a1.example.net'"
TRUNK_NAMES = {"a1.example.net": "t{n}.a1.example.net"}
TRUNKS = TENANT + " AND orig_match_pattern LIKE 'sip*@t%.a1.example.net'"
TRUNKS_NAMES = {"d1.example": "d{n}.example", ".a1.example.net": ".a{n}.example.net"}


def multiply(data, domains, connections=2):
    """Copies the tenant until there are `domains` of them, each with that many connections."""
    database = sqlite3.connect(data / "strowger.db", isolation_level=None)
    database.execute("BEGIN")
    for table in TABLES:
        copy(database, table, TENANT, TENANT_NAMES, domains - 1)
    copy(database, "connections", TRUNK, TRUNK_NAMES, connections - 2)
    copy(database, "connections", TRUNKS, TRUNKS_NAMES, domains - 1)
    database.execute("COMMIT")
    database.close()


def copy(database, table, rows, names, copies):
    """Adds `copies` of each of the rows, with other names."""
    if copies <= 0:
        return
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
    values = []
    for column in columns:
        text = column
        for old, new in names.items():
            head, tail = new.split("{n}")
            text = f"replace({text}, '{old}', '{head}' || n || '{tail}')"
        values.append(f"CASE typeof({column}) WHEN 'text' THEN {text} ELSE {column} END")
    last = FIRST_COPY + copies - 1
    database.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) "
        f"WITH RECURSIVE numbers(n) AS (SELECT {FIRST_COPY} UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) "
        f"SELECT {', '.join(values)} FROM (SELECT * FROM {table} WHERE {rows}), numbers"
    )
