"""Ablation: what a model loses when it does without a feature, a pair or a group.

`linear` is tier 0: a ridge or logistic regression whose ablations have a closed form, so that
every feature, every pair and every group costs no training. It is a linear surrogate of whatever
model is trained in the end: an effect that no linear model of these columns can use is not seen.
`retrain` is tier 2: the user's own model, trained again without each of them.
"""
