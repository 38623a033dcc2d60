"""The spec: frozen objects, the expression language, and reading and writing both."""
