"""The parts of the paper's ablations: what takes the place of a part of the model."""
