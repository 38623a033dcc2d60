"""Engines: each executes the stages of a plan."""
