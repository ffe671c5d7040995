"""Defences, which change the recipe or filter the training rows, and the base class that checks their filters."""

from gradshape.defenses.base import CONTROL, FILTER, Assumptions, Defense, DefenseKind, Suspect
from gradshape.defenses.blind_filtering import rows_to_keep, trusted_rows
from gradshape.defenses.control_filters import PerfectFilter, RandomFilter
from gradshape.defenses.deep_knn import DeepKNN
from gradshape.defenses.gradient_shaping import GradientShaping
from gradshape.defenses.inclusion import Calibrated
from gradshape.defenses.knn import NearestNeighborFilter
from gradshape.defenses.loss import LossFilter
from gradshape.defenses.no_defense import NoDefense
from gradshape.defenses.removal import ShareFilter
from gradshape.defenses.roni import RONI
from gradshape.defenses.sever import Sever
from gradshape.defenses.slab import SlabFilter
from gradshape.defenses.spectral_signatures import SpectralSignatures
from gradshape.defenses.sphere import SphereFilter
from gradshape.defenses.sphere_slab import OracleSphereSlabFilter, SphereSlabFilter
from gradshape.defenses.svd import SVDFilter
from gradshape.defenses.trim import TRIM
from gradshape.defenses.troni import TargetedRONI

__all__ = [
    "CONTROL",
    "FILTER",
    "RONI",
    "TRIM",
    "Assumptions",
    "Calibrated",
    "DeepKNN",
    "Defense",
    "DefenseKind",
    "GradientShaping",
    "LossFilter",
    "NearestNeighborFilter",
    "NoDefense",
    "OracleSphereSlabFilter",
    "PerfectFilter",
    "RandomFilter",
    "SVDFilter",
    "Sever",
    "ShareFilter",
    "SlabFilter",
    "SpectralSignatures",
    "SphereFilter",
    "SphereSlabFilter",
    "Suspect",
    "TargetedRONI",
    "rows_to_keep",
    "trusted_rows",
]
