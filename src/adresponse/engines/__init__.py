"""Score tables where they lie: on this machine (``batch``, with DuckDB in ``duck``) and on a Spark cluster (``spark``).

- ``batch`` takes a stored model, an input and an output, and answers every row
- ``inputs`` opens a table to be scored; ``blocks`` checks and answers it block by block; ``outputs`` writes what came out
- ``duck`` does all of it inside DuckDB where the input is Parquet and the model a closed formula
"""
