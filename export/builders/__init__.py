"""What turns the ONNX file of a stage into an engine."""
