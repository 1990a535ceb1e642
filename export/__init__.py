"""Export of the model's stages as ONNX files and engines, checked against the reference."""
