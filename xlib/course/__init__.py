"""The classroom: what serves the lessons and teaches nothing itself."""
