-- What there is of a call's recording: the file, relative to the data folder, how much is in it, and why it is not all.

ALTER TABLE cdrs ADD COLUMN recording_path TEXT;
ALTER TABLE cdrs ADD COLUMN recording_ms BIGINT;
ALTER TABLE cdrs ADD COLUMN recording_failure TEXT;
