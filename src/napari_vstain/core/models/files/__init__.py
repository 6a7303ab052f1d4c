"""Model files: our checkpoints and ONNX files, VisCy's, and what a person says of a third party's."""
