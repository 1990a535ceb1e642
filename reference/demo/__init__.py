"""Train the demo model, whose small weights ship with the product, on drawn scenes alone.

`python -m reference.demo` (`make train-demo`) follows the paper. A CLIP, an autoencoder and a UNet are
trained on scenes with captions, and frozen. ODISE is then trained on their features, once with labels and
once with captions. See docs/demo-model.md.
"""
