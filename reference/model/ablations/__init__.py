"""The ablations of the paper: modules that replace a part of the model."""
