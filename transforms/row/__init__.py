"""Row operations: each sees one row."""
