"""What every layer of an engine is, and how long it takes: as tables, and as files for NVIDIA's viewer.

odise-trt bench layers --engines engines/demo-onnxruntime-fp32 --output layers
"""
