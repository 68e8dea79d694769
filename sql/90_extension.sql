-- Only as an extension: pg_dump saves the rows that users' views put here.
SELECT pg_catalog.pg_extension_config_dump('stepping.maintained_view', '');
SELECT pg_catalog.pg_extension_config_dump('stepping.view_function', '');
SELECT pg_catalog.pg_extension_config_dump('stepping.used', '');
SELECT pg_catalog.pg_extension_config_dump('stepping.suspect', '');
SELECT pg_catalog.pg_extension_config_dump('stepping.filling', '');
SELECT pg_catalog.pg_extension_config_dump('stepping.version_of', '');
