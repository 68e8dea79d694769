"""All queries of TPC-H on its own data: are the views right (`check`), and how fast are they."""
