"""The pictures of the benchmark: the waterfall of techniques, and growth with words and windows."""
