"""The official forward pass, and every intermediate tensor on record: what the model is compared with."""
