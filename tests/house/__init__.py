"""Tests that hold the house: doors, chain, declarations, names."""
