"""Measurements that need a GPU: techniques side by side, the floor of the card, growth, parity.

    odise-trt bench gpu --output benchmarks/results/odise-label-h100.json

Every section writes its numbers when it ends. If a section fails, the record has the reason, and the other
sections run.
"""
