"""Champion and challenger: gates, non-inferiority, superiority, on one suite; the champion stays unless all hold.

A LoRA is compared by its `Scores`. Bounds are those of 95 % intervals of paired differences, so two equal models
promote in at most 2.5 % of runs by superiority alone, and less with the rest.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as validated

from anime_lora.config.evaluate import Evaluate
from anime_lora.data.dataset_diff import VersionImage
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.encoders import Encoder
from anime_lora.evaluation.metrics.results import Measurements, Numbers
from anime_lora.evaluation.metrics.style import style_s
from anime_lora.evaluation.report.wording import number, with_interval
from anime_lora.evaluation.statistics import Estimate, Floats, PairedUnits, Resample, is_above, is_below
from anime_lora.files import write_json
from anime_lora.sampling.results import AdapterChecks, GeneratedSuite

MARGIN = 0.02
"""By how much drift, and memorisation A above its own limit, may exceed the champion's."""


@validated(frozen=True)
class Units:
    """The paired values of each measure; None where it was not measured."""

    style: PairedUnits | None = None
    features: PairedUnits | None = None
    identity: PairedUnits | None = None
    diversity: PairedUnits | None = None
    sharpness: PairedUnits | None = None
    memorisation: PairedUnits | None = None
    drift: PairedUnits | None = None

    @classmethod
    def of(cls, measured: Measurements) -> "Units":
        """What the measurements hold for a later comparison."""
        return cls(
            measured.style.units, measured.features.units, measured.strength.units, measured.diversity.units,
            measured.sharpness.units, measured.memorisation.units, measured.drift.units,
        )  # fmt: skip


class Scores(BaseModel):
    """A LoRA's scores.json, as far as a later one is compared with it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    suite_id: str
    gates: dict[str, bool]
    units: Units
    dataset: list[VersionImage] | None = None
    """The dataset's version; None: the file is older than that."""

    def write(self, file: Path, numbers: Numbers) -> None:
        """Write scores.json: what was measured of this, and `numbers`, which no later LoRA is compared with."""
        values = {one.name: getattr(self.units, one.name) for one in fields(self.units)}
        units = {
            name: {key: value for key, value in asdict(unit).items() if value is not None}
            for name, unit in values.items()
            if unit is not None
        }
        dataset = None if self.dataset is None else [asdict(image) for image in self.dataset]
        scores = {"suite_id": self.suite_id, "gates": self.gates, "units": units, "dataset": dataset}
        write_json(file, {**scores, "numbers": numbers})


@dataclass(frozen=True)
class Condition:
    """One condition of promotion, and how it came out."""

    kind: str
    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """Whether the candidate becomes champion, the reason in one sentence, and every condition behind it."""

    promoted: bool
    reason: str
    tests: list[Condition]


def read_champion(path: str | None) -> Scores | None:
    """The champion's scores, None where none is set.

    Raises:
        EvaluationError: the file is missing or no scores.
    """
    if path is None:
        return None
    try:
        return Scores.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise EvaluationError(
            f"evaluate.champion = {path} is no scores.json of an earlier run ({type(error).__name__}): "
            "correct the path, or write data/none"
        ) from error


def score(
    measured: Measurements,
    suite: GeneratedSuite,
    encoders: list[Encoder],
    checks: AdapterChecks,
    version: list[VersionImage],
) -> Scores:
    """What a later LoRA is compared with."""
    return Scores(suite_id=suite_id(suite, encoders), gates=gates(checks), units=Units.of(measured), dataset=version)


def suite_id(suite: GeneratedSuite, encoders: list[Encoder]) -> str:
    """Hex sha256 of all that generates and encodes: only scores with equal ids are comparable."""
    weights = {encoder.name: encoder.identity for encoder in encoders}
    return hashlib.sha256(json.dumps([suite.suite_id, weights], sort_keys=True).encode()).hexdigest()


def gates(checks: AdapterChecks) -> dict[str, bool]:
    """Gates that validate-sample's checks of the adapter file decide."""
    return {
        "finite weights": checks.finite,
        "the file reloads": bool(checks.effect),
        "scale 0 is the base": bool(checks.zero) and not any(checks.zero),
        "unloading gives the base": bool(checks.unloaded) and not any(checks.unloaded),
    }


def decide(candidate: Scores, champion: Scores | None, settings: Evaluate) -> Decision:
    """Compare the candidate with the champion, or with the base where there is none yet.

    Args:
        candidate: scores of the LoRA just evaluated.
        champion: scores of the one to beat.
        settings: bootstrap resamples and their seed, and how high A may be.
    """
    conditions = [Condition("gate", name, passed, "") for name, passed in sorted(candidate.gates.items())]
    if champion is not None:
        same = candidate.suite_id == champion.suite_id
        why = "" if same else "numbers of different suites are never compared"
        conditions.append(Condition("gate", "same suite", same, why))
        if not same:
            return _decision(conditions)
    ours, theirs = candidate.units, None if champion is None else champion.units
    conditions.append(_memorisation(ours, theirs, settings))
    conditions.append(_drift(ours, theirs, settings))
    if theirs is not None:
        conditions += [
            _not_worse("attribute accuracy", ours.features, theirs.features, settings, "difference", -0.02),
            _not_worse("identity at 0.65", ours.identity, theirs.identity, settings, "difference", -0.01),
            _not_worse("diversity", ours.diversity, theirs.diversity, settings, "ratio", 0.95),
            _not_worse("sharpness", ours.sharpness, theirs.sharpness, settings, "ratio", 0.95),
        ]
    conditions.append(_better(ours, theirs, settings))
    return _decision(conditions)


def _decision(conditions: list[Condition]) -> Decision:
    failed = [f"{one.kind} {one.name}" + (f" ({one.text})" if one.text else "") for one in conditions if not one.passed]
    reason = f"the champion stays: {'; '.join(failed)}" if failed else f"promoted: {conditions[-1].text}"
    return Decision(not failed, reason, conditions)


def _memorisation(ours: Units, theirs: Units | None, settings: Evaluate) -> Condition:
    """A's upper bound stays below the claim's limit, or where the champion is above that, below the champion's A."""
    if ours.memorisation is None:
        return Condition("gate", "memorisation", False, "was not measured")
    limit = settings.max_memorisation
    if theirs is not None and theirs.memorisation is not None:
        limit = max(limit, float(np.mean(theirs.memorisation.lora)) + MARGIN)
    share = _resample(ours.memorisation, settings).mean(np.array(ours.memorisation.lora))
    text = f"A {with_interval(share, 3)}, upper bound below {number(limit, 3)}"
    return Condition("gate", "memorisation", is_below(share, limit), text)


def _drift(ours: Units, theirs: Units | None, settings: Evaluate) -> Condition:
    """Unrelated prompts are changed no more than the champion changes them: upper bound of the paired difference."""
    if ours.drift is None:
        return Condition("gate", "drift", False, "was not measured")
    if theirs is None:
        return Condition("gate", "drift", True, "there is no champion to compare with")
    if theirs.drift is None or not _same_units(ours.drift, theirs.drift):
        return Condition("gate", "drift", False, "was not measured for both")
    difference = _resample(ours.drift, settings).mean(np.array(ours.drift.lora) - np.array(theirs.drift.lora))
    passed = difference is not None and difference.high is not None and difference.high <= MARGIN
    text = f"difference {with_interval(difference, 3)}, upper bound at most {MARGIN:g}"
    return Condition("gate", "drift", passed, text)


def _not_worse(  # noqa: PLR0917  one line of the table in `decide`
    name: str,
    ours: PairedUnits | None,
    theirs: PairedUnits | None,
    settings: Evaluate,
    how: Literal["difference", "ratio"],
    least: float,
) -> Condition:
    """The lower bound of the paired difference or ratio is at least `least`."""
    if ours is None or theirs is None or not _same_units(ours, theirs):
        return Condition("not worse", name, False, "was not measured for both")
    resample, lora, rival = _resample(ours, settings), np.array(ours.lora), np.array(theirs.lora)
    ratio = resample.estimate(lambda w: (w @ lora) / (w @ rival))
    change = ratio if how == "ratio" else resample.mean(lora - rival)
    passed = change is not None and change.low is not None and change.low >= least
    return Condition("not worse", name, passed, f"{how} {with_interval(change, 3)}, lower bound at least {least:g}")


def _better(ours: Units, theirs: Units | None, settings: Evaluate) -> Condition:
    """Style S, with the champion (or the base) as its 0: lower bound above 0."""
    name = f"style than {'the base' if theirs is None else 'the champion'}"
    style, other = ours.style, None if theirs is None else theirs.style
    unlike = theirs is not None and (style is None or other is None or not _same_units(style, other))
    rival = other.lora if other is not None else style.base if style is not None else None
    if style is None or rival is None or style.own is None or unlike:
        return Condition("better", name, False, "was not measured for both")
    over = style_over(_resample(style, settings), np.array(style.lora), np.array(rival), style.own)
    return Condition("better", name, is_above(over, 0), f"S {with_interval(over, 3)}, lower bound above 0")


def _same_units(ours: PairedUnits, theirs: PairedUnits) -> bool:
    return ours.units == theirs.units


def _resample(units: PairedUnits, settings: Evaluate) -> Resample:
    return Resample(units.clusters, settings.bootstrap, settings.seed)


def style_over(resample: Resample, ours: Floats, theirs: Floats, own: float) -> Estimate | None:
    """S of one set of style scores over another; the plain difference where the other is at the style already."""
    # S divides by the way that is left to the style's own score: near the style it would be noise over nearly nothing.
    if own - float(theirs.mean()) < MARGIN:
        return resample.mean(ours - theirs)
    return resample.estimate(lambda w: style_s(w @ ours / w.sum(1), w @ theirs / w.sum(1), own))
