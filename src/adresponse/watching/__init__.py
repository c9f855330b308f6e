"""Does a registered model still hold on new rows? From a file to a verdict."""
