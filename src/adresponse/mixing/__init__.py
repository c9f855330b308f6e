"""What did each of several channels bring? Carry-over, saturation, season, the search for them, and how sure all is."""
