"""Leakage, ablation, redundancy and drift: what FeatureKit can say about features."""

if __name__ != "featurekit.analysis":
    raise ImportError(
        f"this folder is the package featurekit.analysis, not {__name__}: "
        "import featurekit.analysis"
    )
