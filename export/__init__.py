"""Stages of the model as ONNX files and engines, checked against the reference."""
