"""Stages in int8 and fp8: NVIDIA ModelOpt puts quantizing nodes around layers that we choose.

ModelOpt needs another onnx than this project, so it runs in a Python environment of its own. `program` runs
`driver.py` there and talks to it through files. Nothing of it is imported here. `selection` names the layers,
`calibration` makes the inputs that their ranges are measured on, `graph` holds the result against the
selection, `layers` measures what each layer loses, and `page` shows it.
"""
