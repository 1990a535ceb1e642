"""A bundle without its large weights: some megabytes that give the same graphs to measure elsewhere.

Of every large tensor only name, shape, mean and standard deviation are kept. Unpacking draws normal numbers
from a seed that is the name. Times and memory are those of the bundle; what it segments means nothing.

    odise-trt bench pack --engines engines/odise-label-onnxruntime_cuda-fp16 --output bundle.tar.xz
    odise-trt bench unpack bundle.tar.xz --output engines/odise-label-onnxruntime_cuda-fp16
"""
