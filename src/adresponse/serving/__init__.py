"""How is a stored model asked over HTTP? MLflow's scoring protocol, from the formula alone."""
