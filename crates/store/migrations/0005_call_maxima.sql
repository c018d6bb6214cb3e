-- The most calls at once on a connection, in a month (counted from January 1970) and in the one before. A row goes with its
-- connection.

CREATE TABLE call_maxima (
    domain             TEXT   NOT NULL,
    orig_match_pattern TEXT   NOT NULL,
    month              BIGINT NOT NULL,
    this_month         BIGINT NOT NULL,
    last_month         BIGINT NOT NULL,
    PRIMARY KEY (domain, orig_match_pattern)
);
