"""For each lesson what it claims, with values at which each sentence is just false: see tests/test_claims.py."""
