"""The catalogue of features, in a fixed order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from shuiqiao.credit.features.conduct import CONDUCT_FEATURES
from shuiqiao.credit.features.definition import FeatureDefinition
from shuiqiao.credit.features.purchases import PURCHASE_FEATURES
from shuiqiao.credit.features.sales import SALES_FEATURES
from shuiqiao.credit.features.tax_record import TAX_RECORD_FEATURES

FEATURES: tuple[FeatureDefinition, ...] = (
    *SALES_FEATURES,
    *PURCHASE_FEATURES,
    *CONDUCT_FEATURES,
    *TAX_RECORD_FEATURES,
)

FEATURE_BY_NAME: Mapping[str, FeatureDefinition] = MappingProxyType({feature.name: feature for feature in FEATURES})
