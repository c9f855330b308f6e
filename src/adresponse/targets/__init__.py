"""Where can a stored model be put to work? Each file is one target, and says first what it would do."""
