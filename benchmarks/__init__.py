"""How fast the seed's view is, against no view, a trigger by hand, REFRESH and pg_ivm."""
