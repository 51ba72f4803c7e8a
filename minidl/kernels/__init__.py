"""The inner loops, on raw arrays: no Tensor, no graph. `minidl.ops` says what an op means, this how it is computed."""
