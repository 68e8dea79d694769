-- What the PL/Python trigger functions of all views share, where the database has the language:
-- a session's first call loads it.
DO $body$
BEGIN
    IF EXISTS (SELECT FROM pg_catalog.pg_language WHERE lanname = 'plpython3u') THEN
        CREATE OR REPLACE FUNCTION stepping.load_maintainer() RETURNS void
        LANGUAGE plpython3u
        AS $python$
-- plpython/maintain.py
GD["stepping"] = maintainer
$python$;
        REVOKE ALL ON FUNCTION stepping.load_maintainer() FROM PUBLIC;
    END IF;
END
$body$;
