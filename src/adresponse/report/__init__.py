"""The report of a study: figures, and one page that holds them all; and the page of a watch."""

from adresponse.report.figures import figures
from adresponse.report.page import Tracked, page
from adresponse.report.watch_page import Watched, watch_page

__all__ = ["Tracked", "Watched", "figures", "page", "watch_page"]
