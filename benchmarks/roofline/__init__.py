"""How far each stage is from what the machine could do: work, ceilings, floors, and what to do next.

odise-trt bench roofline --engines engines/demo-onnxruntime-fp32
"""
