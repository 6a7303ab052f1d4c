"""Images in tiles: which are planned, in what order they come, and how their results are joined."""
