"""The mean-field limit of two-layer networks by particles: u_j' = −∇V(u_j).

An independent reference for the density solver: it takes any object with a problem's attributes
(:mod:`particle_ref.problem`) and shares no code with what it checks.
"""

from particle_ref.central_limit import fluctuations
from particle_ref.cloud import Cloud, sample
from particle_ref.distances import wasserstein_distance
from particle_ref.errors import InvalidInput, NumericalStop, Stopped
from particle_ref.methods.characteristics import Characteristics
from particle_ref.methods.conic import Conic
from particle_ref.methods.descent import Descent
from particle_ref.methods.gradient_flow import GradientFlow
from particle_ref.methods.langevin import Langevin
from particle_ref.methods.stochastic import Stochastic
from particle_ref.network import MeanFieldTwoLayerNN
from particle_ref.replication import replicas
from particle_ref.runner import run
from particle_ref.truth import Truth

__all__ = [
    "Characteristics",
    "Cloud",
    "Conic",
    "Descent",
    "GradientFlow",
    "InvalidInput",
    "Langevin",
    "MeanFieldTwoLayerNN",
    "NumericalStop",
    "Stochastic",
    "Stopped",
    "Truth",
    "fluctuations",
    "replicas",
    "run",
    "sample",
    "wasserstein_distance",
]
