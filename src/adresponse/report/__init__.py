"""The report of a study: figures, and one page that holds them all."""

from adresponse.report.figures import figures
from adresponse.report.page import Tracked, page

__all__ = ["Tracked", "figures", "page"]
