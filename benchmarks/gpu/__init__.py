"""All measurements that need a GPU, as one command that can be stopped and goes on where it was.

    odise-trt bench gpu --output gpu

Every part runs in a process of its own with a time limit, and leaves one JSON file. A part that is there for
the same commit, versions and card is not run again.
"""
