"""The engines, one adapter a file. What is not installed has its rows skipped, with the reason."""
