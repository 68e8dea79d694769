-- The part of a superuser, to be run once in the database, for views with triggers in PL/Python.
-- Views with triggers in PL/pgSQL need nothing of it.
--
-- It lets one role make functions in plpython3u. Such functions can do on the server what its operating system's user
-- can: that role has to be trusted as a superuser is.
CREATE EXTENSION IF NOT EXISTS plpython3u;
UPDATE pg_catalog.pg_language SET lanpltrusted = true WHERE lanname = 'plpython3u';
REVOKE USAGE ON LANGUAGE plpython3u FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpython3u TO the_role;
