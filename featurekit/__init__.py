"""FeatureKit."""
