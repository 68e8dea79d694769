-- Views that are being made while their tables are written: how far the filling of each is.

CREATE TABLE IF NOT EXISTS stepping.filling (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    stage integer NOT NULL DEFAULT 0,
    piece integer NOT NULL DEFAULT 0,
    log text,
    by text,
    bounds text[],
    PRIMARY KEY (schema_name, view_name),
    FOREIGN KEY (schema_name, view_name) REFERENCES stepping.maintained_view ON DELETE CASCADE ON UPDATE CASCADE
);

COMMENT ON TABLE stepping.filling IS
'How far the filling of a view that is made online is: the stage, and the piece of it that comes next.';
COMMENT ON COLUMN stepping.filling.log IS
'The log of the table of the stage that is taken in pieces.';
COMMENT ON COLUMN stepping.filling.by IS
'The column whose values divide that table.';
COMMENT ON COLUMN stepping.filling.bounds IS
'The last value of each piece but the last; NULL until the stage is begun.';

-- Versions of a view beside the one that is published: made to take its place, or replaced and not dropped yet.
CREATE TABLE IF NOT EXISTS stepping.version_of (
    schema_name text NOT NULL,
    view_name text NOT NULL,
    changed text NOT NULL,
    number bigint GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (schema_name, view_name),
    FOREIGN KEY (schema_name, view_name) REFERENCES stepping.maintained_view ON DELETE CASCADE ON UPDATE CASCADE
);

COMMENT ON TABLE stepping.version_of IS
'Maintained views that are versions of one that is being changed, or of one that reads that; they go when it is done.';
COMMENT ON COLUMN stepping.version_of.changed IS
'The view that is being changed, as schema.name.';
