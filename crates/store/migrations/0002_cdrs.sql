-- Call records, with the columns that people and bills ask for; `record` is the whole of it as JSON.
-- `position` only grows, also after rows were removed, so a reader can remember how far it came.

CREATE TABLE cdrs (
    position                INTEGER PRIMARY KEY AUTOINCREMENT,
    call                    TEXT    NOT NULL UNIQUE,
    domain                  TEXT    NOT NULL,
    started_ms              BIGINT  NOT NULL,
    ringing_ms              BIGINT,
    answered_ms             BIGINT,
    ended_ms                BIGINT  NOT NULL,
    talk_ms                 BIGINT  NOT NULL,
    billable_ms             BIGINT  NOT NULL,
    from_uri                TEXT    NOT NULL,
    to_uri                  TEXT    NOT NULL,
    orig_call_id            TEXT    NOT NULL,
    orig_connection_domain  TEXT,
    orig_connection_pattern TEXT,
    term_call_id            TEXT,
    term_connection_domain  TEXT,
    term_connection_pattern TEXT,
    dial_rule               TEXT,
    release_side            TEXT    NOT NULL,
    release_status          INTEGER NOT NULL,
    release_cause           INTEGER,
    release_text            TEXT    NOT NULL,
    record                  TEXT    NOT NULL
);
CREATE INDEX cdrs_by_domain ON cdrs (domain, started_ms);
CREATE INDEX cdrs_by_start ON cdrs (started_ms);
CREATE INDEX cdrs_by_orig_call_id ON cdrs (orig_call_id);
CREATE INDEX cdrs_by_term_call_id ON cdrs (term_call_id);
