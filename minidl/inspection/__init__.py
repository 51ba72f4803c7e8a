"""Looking at networks and at their training: pictures, where people would rather look than read numbers."""
