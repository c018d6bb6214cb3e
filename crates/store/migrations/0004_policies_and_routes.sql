-- Which destinations may be called, and by which connections they leave.

CREATE TABLE dial_policies (
    id          INTEGER PRIMARY KEY,
    domain      TEXT    NOT NULL,
    policy      TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    modified_ms BIGINT  NOT NULL,
    UNIQUE (domain, policy)
);

CREATE TABLE permissions (
    id          INTEGER PRIMARY KEY,
    domain      TEXT    NOT NULL,
    policy      TEXT    NOT NULL,
    pattern     TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    modified_ms BIGINT  NOT NULL,
    UNIQUE (domain, policy, pattern)
);

-- `domain` is always `*`: routes belong to the system.
CREATE TABLE routes (
    id              INTEGER PRIMARY KEY,
    domain          TEXT    NOT NULL,
    route           TEXT    NOT NULL,
    destination     TEXT    NOT NULL,
    source          TEXT    NOT NULL,
    class           TEXT    NOT NULL,
    server_hostname TEXT    NOT NULL,
    record          TEXT    NOT NULL,
    created_ms      BIGINT  NOT NULL,
    modified_ms     BIGINT  NOT NULL,
    UNIQUE (domain, route)
);

CREATE TABLE route_connections (
    id              INTEGER PRIMARY KEY,
    domain          TEXT    NOT NULL,
    route           TEXT    NOT NULL,
    connection_index TEXT   NOT NULL,
    destination     TEXT    NOT NULL,
    record          TEXT    NOT NULL,
    created_ms      BIGINT  NOT NULL,
    modified_ms     BIGINT  NOT NULL,
    UNIQUE (domain, route, connection_index)
);
