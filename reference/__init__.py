"""The model in PyTorch: what everything else is compared with, and what is exported and trained.

`reference.model.ODISE` is the model, `reference.checkpoint.load_weights` makes one with weights in it,
`reference.inference.segment_photo` segments a photo with it.
"""
