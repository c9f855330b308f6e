"""How is a budget best spread over the channels? From a wish to a plan."""
