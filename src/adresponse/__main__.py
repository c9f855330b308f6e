"""``python -m adresponse`` is ``adresponse``."""

from adresponse.cli import main

main(prog_name="adresponse")
