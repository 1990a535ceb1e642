"""Contenders side by side, each in a process of its own that stays alive and gets one picture at a time.

`worker` is such a process, `process` its handle, `alternate` the order of the pictures (A B C A B C ...),
`load` what other programs did meanwhile, and `statistics` what becomes of the numbers.
"""
