"""Files of microscopes, whatever their format: each image in them is an ImageFile, (T, C, Z, Y, X)."""
