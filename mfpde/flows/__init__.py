"""THE EQUATIONS: one file each, and the structure they share."""

from mfpde.flows.wasserstein import Field, WassersteinFlow

__all__ = ["Field", "WassersteinFlow"]
