"""The model in PyTorch. It is trained and exported, and everything else is compared with it.

`reference.model.ODISE` is the model. `reference.checkpoint.load_weights` loads one with its weights.
`reference.inference.segment_photo` segments a photo.
"""
