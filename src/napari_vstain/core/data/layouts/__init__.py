"""How files lie in a folder: which position, channel, time and slice each of them holds."""
