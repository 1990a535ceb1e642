"""One module per kind of file: what is in it, under official names.

A file of the release, Stable Diffusion as one file or as a folder of diffusers, and CLIP in three layouts.
"""
