"""How a table is read: from each kind of source, block by block, into checked float64 columns.

``table.read`` is the door; this package is loaded by it alone, since it needs numpy, pandas and pyarrow.

- ``sources`` opens whatever was given; ``textfile``, ``excel`` and ``database`` open one kind each
- ``numerals`` and ``dates`` read what is written as text; ``cells`` reads any Arrow array by role; ``marks`` finds
  out how the table writes both
- ``roles`` decides which column is what; ``stream`` checks, counts, hashes and samples all rows
"""
