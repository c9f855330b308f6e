"""A registered model while data comes in: watched, fitted anew, promoted, rolled back."""

from adresponse.upkeep.compared import Compared, compare_versions
from adresponse.upkeep.refreshed import Refreshed, refresh, retrain
from adresponse.upkeep.versions import delete_version, history, promote, rollback
from adresponse.upkeep.watched import Watched, watch

__all__ = ["Compared", "Refreshed", "Watched"]
__all__ += ["compare_versions", "delete_version", "history", "promote", "refresh", "retrain", "rollback", "watch"]
