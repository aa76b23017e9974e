"""WHERE: axes and their tensor products."""

from mfpde.grids.axis import Axis, periodic, stretched, uniform
from mfpde.grids.grid import Grid

__all__ = ["Axis", "Grid", "periodic", "stretched", "uniform"]
