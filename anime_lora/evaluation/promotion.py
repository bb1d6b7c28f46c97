"""Champion and challenger: gates, non-inferiority, superiority, on one suite; the champion stays unless all hold.

A champion is its `scores.json`: {"suite_id", "gates": {name: bool}, "units": {measure: paired values}, "dataset"}.
Bounds are those of 95 % intervals of paired differences, so two equal models promote in at most 2.5 % of runs by
superiority alone, and less with the rest.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from anime_lora.config.evaluate import Evaluate
from anime_lora.errors import EvaluationError
from anime_lora.evaluation.metrics.similarity import between
from anime_lora.evaluation.report.wording import number, with_interval
from anime_lora.evaluation.statistics import Estimate, Floats, Resample

MARGIN = 0.02
"""By how much drift, and memorisation A above its own limit, may exceed the champion's."""
NOT_WORSE = {
    "features": ("attribute accuracy", "difference", -0.02),
    "identity": ("identity at 0.65", "difference", -0.01),
    "diversity": ("diversity", "ratio", 0.95),
    "sharpness": ("sharpness", "ratio", 0.95),
}
"""Measure: its name, how it is compared, and the lower bound it must keep."""
Scores = dict[str, Any]


@dataclass(frozen=True)
class Test:
    """One condition of promotion, and how it came out."""

    kind: str
    name: str
    passed: bool
    text: str


@dataclass(frozen=True)
class Decision:
    """Whether the candidate becomes champion, the reason in one sentence, and every test behind it."""

    promoted: bool
    reason: str
    tests: list[Test]

    def plain(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def read_champion(path: str | None) -> Scores | None:
    """The champion's scores, None where none is set.

    Raises:
        EvaluationError: the file is missing or no scores.
    """
    if path is None:
        return None
    try:
        scores: Scores = json.loads(Path(path).read_text(encoding="utf-8"))
        kept = {name: scores[name] for name in ("suite_id", "gates", "units")}
        return {**kept, "dataset": scores.get("dataset")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"evaluate.champion = {path} is no scores.json of an earlier run ({type(error).__name__}): "
            "correct the path, or write data/none"
        ) from error


def gates(checks: dict[str, Any]) -> dict[str, bool]:
    """Gates that validate-sample's checks of the adapter file decide."""
    return {
        "finite weights": bool(checks.get("finite")),
        "the file reloads": bool(checks.get("effect")),
        "scale 0 is the base": bool(checks.get("zero")) and not any(checks["zero"]),
        "unloading gives the base": bool(checks.get("unloaded")) and not any(checks["unloaded"]),
    }


def decide(candidate: Scores, champion: Scores | None, settings: Evaluate) -> Decision:
    """Judge the candidate against the champion, or against the base where there is none yet.

    Args:
        candidate: scores of the LoRA just evaluated.
        champion: scores of the one to beat.
        settings: bootstrap resamples and their seed, and how high A may be.
    """
    resamples, seed = settings.bootstrap, settings.seed
    tests = [Test("gate", name, bool(passed), "") for name, passed in sorted(candidate["gates"].items())]
    if champion is not None:
        same = candidate["suite_id"] == champion["suite_id"]
        tests.append(Test("gate", "same suite", same, "" if same else "numbers of different suites are never compared"))
        if not same:
            return _decision(tests)
    against = None if champion is None else champion["units"]
    tests.append(_copying(candidate["units"], against, settings))
    tests.append(_drifting(candidate["units"], against, resamples, seed))
    if against is not None:
        tests += [_not_worse(name, candidate["units"], against, resamples, seed) for name in NOT_WORSE]
    tests.append(_better(candidate["units"], against, resamples, seed))
    return _decision(tests)


def _decision(tests: list[Test]) -> Decision:
    failed = [
        f"{test.kind} {test.name}" + (f" ({test.text})" if test.text else "") for test in tests if not test.passed
    ]
    reason = f"the champion stays: {'; '.join(failed)}" if failed else f"promoted: {tests[-1].text}"
    return Decision(not failed, reason, tests)


def _copying(units: dict[str, Any], against: dict[str, Any] | None, settings: Evaluate) -> Test:
    """A's upper bound stays below the claim's limit, or where the champion is above that, below the champion's A."""
    if "memorisation" not in units:
        return Test("gate", "memorisation", False, "was not measured")
    limit = settings.max_memorisation
    if against is not None and "memorisation" in against:
        limit = max(limit, float(np.mean(against["memorisation"]["lora"])) + MARGIN)
    found = Resample(units["memorisation"]["clusters"], settings.bootstrap, settings.seed)
    share = found.mean(np.array(units["memorisation"]["lora"]))
    said = f"A {with_interval(share, 3)}, upper bound below {number(limit, 3)}"
    return Test("gate", "memorisation", share.below(limit), said)


def _drifting(units: dict[str, Any], against: dict[str, Any] | None, resamples: int, seed: int) -> Test:
    """Unrelated prompts are changed no more than the champion changes them: upper bound of the paired difference."""
    if "drift" not in units:
        return Test("gate", "drift", False, "was not measured")
    if against is None:
        return Test("gate", "drift", True, "there is no champion to compare with")
    pair = _paired("drift", units, against)
    if pair is None:
        return Test("gate", "drift", False, "was not measured for both")
    clusters, ours, theirs = pair
    found = Resample(clusters, resamples, seed).mean(ours - theirs)
    passed = found.high is not None and found.high <= MARGIN
    return Test("gate", "drift", passed, f"difference {with_interval(found, 3)}, upper bound at most {MARGIN:g}")


def _not_worse(name: str, units: dict[str, Any], against: dict[str, Any], resamples: int, seed: int) -> Test:
    """The lower bound of the paired difference or ratio stays above the margin."""
    label, how, least = NOT_WORSE[name]
    pair = _paired(name, units, against)
    if pair is None:
        return Test("not worse", label, False, "was not measured for both")
    clusters, ours, theirs = pair
    resample = Resample(clusters, resamples, seed)
    ratio = resample.estimate(lambda w: (w @ ours) / (w @ theirs))
    found = ratio if how == "ratio" else resample.mean(ours - theirs)
    passed = found.low is not None and found.low >= least
    return Test("not worse", label, passed, f"{how} {with_interval(found, 3)}, lower bound at least {least:g}")


def _paired(name: str, units: dict[str, Any], against: dict[str, Any]) -> tuple[list[str], Floats, Floats] | None:
    """Clusters and both models' values of the same units."""
    if name not in units or name not in against or units[name]["units"] != against[name]["units"]:
        return None
    return units[name]["clusters"], np.array(units[name]["lora"]), np.array(against[name]["lora"])


def _better(units: dict[str, Any], against: dict[str, Any] | None, resamples: int, seed: int) -> Test:
    """Style S, with the champion (or the base) as its 0: lower bound above 0."""
    rival = "the base" if against is None else "the champion"
    if "style" not in units or (against is not None and _paired("style", units, against) is None):
        return Test("better", f"style than {rival}", False, "was not measured for both")
    ours = np.array(units["style"]["lora"])
    theirs = np.array(units["style"]["base"] if against is None else against["style"]["lora"])
    found = style_over(units["style"]["clusters"], ours, theirs, units["style"]["own"], (resamples, seed))
    return Test("better", f"style than {rival}", found.above(0), f"S {with_interval(found, 3)}, lower bound above 0")


def style_over(clusters: list[str], ours: Floats, theirs: Floats, own: float, resampling: tuple[int, int]) -> Estimate:
    """S of one set of style scores over another; the plain difference where the other is at the style already."""
    resample = Resample(clusters, *resampling)
    if own - float(theirs.mean()) < MARGIN:
        return resample.mean(ours - theirs)
    return resample.estimate(lambda w: between(w @ ours / w.sum(1), w @ theirs / w.sum(1), own))
