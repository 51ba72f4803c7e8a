"""The commands of `minidl`: for each, its options and what it does."""
