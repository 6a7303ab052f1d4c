"""ONNX graphs: traced, given their normalization, and rewritten so that engines run them faster."""
