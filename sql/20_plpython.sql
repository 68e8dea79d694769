-- What the PL/Python trigger functions of all views share, where the database has the language and this role may
-- make functions in it: a session's first call loads it. Its number goes up when it understands other dicts than before:
-- the functions of views that were made for an older one go on with that.
DO $body$
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_language AS l JOIN pg_catalog.pg_roles AS r ON r.rolname = current_user
        WHERE l.lanname = 'plpython3u'
          AND (r.rolsuper OR l.lanpltrusted AND pg_catalog.has_language_privilege(l.oid, 'USAGE'))
    ) THEN
        CREATE OR REPLACE FUNCTION stepping.load_maintainer_2() RETURNS void
        LANGUAGE plpython3u
        AS $python$
-- plpython/maintain.py
GD["maintainer_2"] = maintainer
$python$;
        REVOKE ALL ON FUNCTION stepping.load_maintainer_2() FROM PUBLIC;
    END IF;
END
$body$;
