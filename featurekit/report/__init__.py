"""Reports as HTML: they render what an analysis found, and compute nothing."""
