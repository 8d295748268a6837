"""Estimators of scikit-learn, read by skops; a pickle runs code, so it is read only where its sha256 is allowed."""

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import skops.io
from sklearn.base import is_classifier

from service.predictors.columns import columns_of, reads_text
from service.predictors.tabular import Column, Estimate, Row
from streaming.errors import EngineDown

# Their arithmetic stays within a row, so that many rows at once give the same bits as each alone. What multiplies
# matrices is asked row by row: the order of its sums depends on how many rows there are.
ROWWISE = {
    *("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor"),
    *("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor"),
    *("HistGradientBoostingClassifier", "HistGradientBoostingRegressor"),
    *("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "SimpleImputer"),
    *("OneHotEncoder", "OrdinalEncoder"),
}


@dataclass(frozen=True, slots=True)
class SklearnEstimator:
    """An `Estimator`."""

    model: Any
    columns: tuple[Column, ...]
    size_bytes: int

    @property
    def classes(self) -> tuple[Any, ...] | None:
        found = getattr(self.model, "classes_", None) if is_classifier(self.model) else None
        return None if found is None or isinstance(found, list) else tuple(plain(one) for one in found)

    def estimate(self, rows: Sequence[Row]) -> Sequence[Estimate]:
        if is_rowwise(self.model):
            return self._estimate(rows)
        return [estimate for row in rows for estimate in self._estimate([row])]

    def _estimate(self, rows: Sequence[Row]) -> Sequence[Estimate]:
        table = table_of(self.model, self.columns, rows)
        values = [plain(one) for one in self.model.predict(table)]
        if self.classes is None or not hasattr(self.model, "predict_proba"):
            return [Estimate(value) for value in values]
        names = [str(one) for one in self.classes]
        shares = self.model.predict_proba(table).tolist()
        return [Estimate(value, dict(zip(names, row, strict=True))) for value, row in zip(values, shares, strict=True)]


def table_of(model: Any, columns: Sequence[Column], rows: Sequence[Row]) -> Any:
    """A model that was fitted with names wants a data frame; text models want texts."""
    if reads_text(model):
        return [row[0] for row in rows]
    whole = [[math.nan if value is None else value for value in row] for row in rows]
    if not hasattr(model, "feature_names_in_"):
        return np.array(whole, dtype=object if any(column.kind == "string" for column in columns) else np.float64)
    import pandas as pd  # noqa: PLC0415  slow to import, and few models want it

    return pd.DataFrame(whole, columns=list(model.feature_names_in_))


def is_rowwise(model: Any) -> bool:
    steps = getattr(model, "steps", None) or getattr(model, "transformers_", None)
    if steps is not None:
        return all(part in ("passthrough", "drop") or is_rowwise(part) for _, part, *_ in steps)
    return type(model).__name__ in ROWWISE and type(model).__module__.startswith("sklearn.")


def plain(value: Any) -> Any:
    """A number of numpy as JSON can say it; a row of several outputs as a list."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else value


def load_skops(path: Path, name: str, trusted: Sequence[str], features: Sequence[str] | None) -> SklearnEstimator:
    """Every type in the file is one that skops knows as harmless, or one that the configuration names."""
    unknown = sorted(set(skops.io.get_untrusted_types(file=path)) - set(trusted))
    if unknown:
        raise EngineDown(f"The model {name} holds types that trusted_types does not name: {', '.join(unknown)}.")
    return made_of(skops.io.load(path, trusted=list(trusted)), name, path, features)


def load_pickle(path: Path, name: str, sha256: str | None, features: Sequence[str] | None) -> SklearnEstimator:
    """What is checked is what is read: the same bytes, in memory. joblib reads plain pickles as well."""
    content = path.read_bytes()
    if sha256 is None or hashlib.sha256(content).hexdigest() != sha256:
        raise EngineDown(f"The model {name} is a pickle, and its sha256 is not the one that the configuration allows.")
    return made_of(joblib.load(io.BytesIO(content)), name, path, features)


def made_of(model: Any, name: str, path: Path, features: Sequence[str] | None) -> SklearnEstimator:
    if not hasattr(model, "predict"):
        raise EngineDown(f"The model {name} holds no estimator.")
    for part in parts_of(model):
        if hasattr(part, "n_jobs"):
            part.n_jobs = 1  # threads would add up a forest's trees in another order each time
    try:
        columns = columns_of(model, features)
    except ValueError as error:
        raise EngineDown(f"The model {name} cannot be served: {error}.") from error
    return SklearnEstimator(model, columns, path.stat().st_size)


def parts_of(model: Any) -> list[Any]:
    steps = getattr(model, "steps", None) or getattr(model, "transformers_", None) or ()
    return [model, *(inner for _, part, *_ in steps if not isinstance(part, str) for inner in parts_of(part))]
