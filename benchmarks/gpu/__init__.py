"""What only a GPU can tell: techniques side by side, the floor of the card, growth, parity.

    odise-trt bench gpu --output benchmarks/results/odise-label-h100.json

Every section writes its numbers when it is done, and one that fails says why and lets the others go on.
"""
