"""Training ODISE as the paper has it: recipe, data on the way in, steps, checkpoints.

`python -m reference.train` is the command; `docs/training.md` is the page for users.
"""
