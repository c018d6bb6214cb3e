-- From here on `cdrs.record` may hold bytes: the JSON of a record, packed (packed.rs). Rows that are there stay as they are.
-- Nothing is altered: a program that does not know the form must not open the file, and this number keeps it from that.
SELECT 1;
