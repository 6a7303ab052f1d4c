"""How far a network looks: read from its layers or its graph; probed only where neither tells."""
