"""Small fits in numpy: linear models that are quick to train and to ask."""

from llmops_langchain.fits.linear import Linear, fit_logistic, fit_ridge

__all__ = ["Linear", "fit_logistic", "fit_ridge"]
