-- Records: key columns, the columns lists filter by, and the record itself as JSON.
-- `id` is the order of creation, which breaks ties between equally specific patterns.

CREATE TABLE domains (
    id          INTEGER PRIMARY KEY,
    domain      TEXT    NOT NULL UNIQUE,
    reseller    TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    modified_ms BIGINT  NOT NULL
);
CREATE INDEX domains_by_reseller ON domains (reseller, id);

CREATE TABLE connections (
    id                 INTEGER PRIMARY KEY,
    domain             TEXT    NOT NULL,
    orig_match_pattern TEXT    NOT NULL,
    term_match_pattern TEXT    NOT NULL,
    record             TEXT    NOT NULL,
    created_ms         BIGINT  NOT NULL,
    modified_ms        BIGINT  NOT NULL,
    UNIQUE (domain, orig_match_pattern)
);

CREATE TABLE dial_plans (
    id          INTEGER PRIMARY KEY,
    domain      TEXT    NOT NULL,
    plan        TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    modified_ms BIGINT  NOT NULL,
    UNIQUE (domain, plan)
);

CREATE TABLE dial_rules (
    id          INTEGER PRIMARY KEY,
    domain      TEXT    NOT NULL,
    plan        TEXT    NOT NULL,
    rule        TEXT    NOT NULL,
    to_uri      TEXT    NOT NULL,
    record      TEXT    NOT NULL,
    created_ms  BIGINT  NOT NULL,
    modified_ms BIGINT  NOT NULL,
    UNIQUE (domain, plan, rule)
);
CREATE INDEX dial_rules_by_to_uri ON dial_rules (to_uri);

-- The key itself is never stored, only its SHA-256.
CREATE TABLE api_keys (
    id           INTEGER PRIMARY KEY,
    key_id       TEXT    NOT NULL UNIQUE,
    key_hash     TEXT    NOT NULL UNIQUE,
    domain       TEXT    NOT NULL,
    reseller     TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    lastused_ms  BIGINT,
    record       TEXT    NOT NULL,
    created_ms   BIGINT  NOT NULL,
    modified_ms  BIGINT  NOT NULL
);
CREATE INDEX api_keys_by_domain ON api_keys (domain, id);

CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    unix_ms BIGINT  NOT NULL,
    who     TEXT    NOT NULL,
    address TEXT,
    verb    TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    domain  TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    diff    TEXT    NOT NULL
);
CREATE INDEX audit_by_domain ON audit (domain, id);
