-- Registrations: what the switch learns by itself about a connection, beside what people wrote down.
-- `expires_ms` and `binding` are empty once it is over; `registered_ms` stays, for it says when the last
-- one succeeded. A row goes with its connection.

CREATE TABLE registrations (
    domain             TEXT   NOT NULL,
    orig_match_pattern TEXT   NOT NULL,
    direction          TEXT   NOT NULL,
    registered_ms      BIGINT NOT NULL,
    expires_ms         BIGINT,
    binding            TEXT,
    PRIMARY KEY (domain, orig_match_pattern, direction)
);
