"""The demo model: how the small weights that come with the product are trained, from drawn scenes alone.

`python -m reference.demo` (`make train-demo`) goes the way of the paper: a CLIP, an autoencoder and a UNet
are trained on scenes with captions and frozen, and ODISE is trained on their features, with labels and with
captions. See docs/demo-model.md.
"""
