"""The finite two-layer network f(x) = (1/m) Σ_j a_j σ(w_j·x), trained in PDE time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from particle_ref.activations import ACTIVATIONS, Nonlinearity
from particle_ref.errors import InvalidInput, NumericalStop
from particle_ref.force import Response, layer_force
from particle_ref.problem import Array
