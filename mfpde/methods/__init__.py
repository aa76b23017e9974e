"""HOW: one file per method; a method's file is its formula."""

from mfpde.methods.muscl import muscl
from mfpde.methods.step import Method, Step, Stepper
from mfpde.methods.upwind import upwind

__all__ = ["Method", "Step", "Stepper", "muscl", "upwind"]
