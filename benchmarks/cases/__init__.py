"""The cases, in the order in which they are measured: the table of whole networks first."""
