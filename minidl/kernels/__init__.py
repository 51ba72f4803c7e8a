"""The inner loops, on raw arrays: no Tensor, no graph. What an op means is in `minidl.ops`; how it is computed, here."""
