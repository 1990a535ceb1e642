"""Training of ODISE with the recipe of the paper: configuration, data loading, steps, checkpoints.

`python -m reference.train` is the command; `docs/training.md` is the page for users.
"""
