"""A stand-in for TensorRT and CUDA on machines without a GPU. It is used by tests only.

It runs the ONNX graph of each engine in ONNX Runtime, so the numbers are true. "Device" addresses are made-up
integers. Everything that CUDA leaves undefined is an error here: addresses outside an allocation, memory that
was freed or never written, work on two streams that touches the same bytes without an event between, too
little scratch memory, shapes outside a profile, pointers that are not aligned.

It says nothing about speed, and nothing about the numbers of real engines.
"""
