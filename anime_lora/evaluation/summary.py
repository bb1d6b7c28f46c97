"""metrics.json: the numbers by which a person compares two nights; all others lie in scores.json and the report."""

from collections.abc import Sequence

from anime_lora.evaluation.claims import Claim
from anime_lora.evaluation.metrics.results import Measurements
from anime_lora.evaluation.report.training import Epoch
from anime_lora.evaluation.statistics import Estimate


def summary(measured: Measurements, claims: Sequence[Claim], epochs: Sequence[Epoch]) -> dict[str, float]:
    """At most 20 numbers in one level, as `dvc metrics` and `dvc exp show` print them; what is missing is left out.

    The names are short since each becomes a column. A number without its interval says whether something moved; the
    claims say whether that is more than chance.
    """
    style, strength = measured.style.score, measured.strength
    numbers: dict[str, Estimate | float | None] = {
        "claims_shown": sum(claim.verdict == "shown" for claim in claims),
        "style": style,
        "style_low": style.low if style else None,
        "style_high": style.high if style else None,
        "domain": measured.domain.lora,
        "trigger": measured.trigger.interaction,
        "features": measured.features.accuracy,
        "rho_style": strength.rho_style,
        "rho_identity": strength.rho_identity,
        "identity": strength.keeping.identity,
        "guidance": measured.guidance.faithfulness_gain,
        "style_words": measured.style_words.gain,
        "rho_scale": measured.scale.rho_style,
        "combining": measured.combining.weaker,
        "controlnet": measured.controlnet.identity_gain,
        "memorisation": measured.memorisation.lora,
        "drift": measured.drift.unrelated,
        "diversity": measured.diversity.ratio,
        "sharpness": measured.sharpness.against_holdout,
        "heldout_loss": min((one.heldout for one in epochs if one.heldout is not None), default=None),
    }
    values = {name: one.value if isinstance(one, Estimate) else one for name, one in numbers.items()}
    return {name: value for name, value in values.items() if value is not None}
