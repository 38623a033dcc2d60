"""Leaks that data show: features that know more of the label than they can when it matters."""
