"""Tensors of a file are matched to modules and formats by their names."""

import pytest

from anime_lora.lora.formats.lycoris import FAMILIES, adapted_modules

LOHA = ["m.hada_w1_a", "m.hada_w1_b", "m.hada_w2_a", "m.hada_w2_b", "m.alpha"]


def test_each_module_has_its_path_format_and_factors() -> None:
    """Two formats in one file, sorted by path; alphas and DoRA's lengths belong to a module and are no factors."""
    names = ["z.lora_up.weight", "z.lora_down.weight", "z.alpha", "z.dora_scale", *LOHA]
    (loha, kohya), others = adapted_modules(names)
    assert (loha.path, loha.family.name, kohya.path) == ("m", "LyCORIS LoHa", "z")
    assert kohya.endings == (".lora_down.weight", ".lora_up.weight")
    assert (loha.rank_tensor(), kohya.rank_tensor()) == ("m.hada_w1_b", "z.lora_down.weight")
    assert (loha.missing_ending(), kohya.missing_ending()) == (None, None)
    assert others == []


@pytest.mark.parametrize("ending", [".hada_w1_a", ".hada_w1_b", ".hada_w2_a", ".hada_w2_b"])
def test_a_missing_factor_is_named(ending: str) -> None:
    """Every factor of a LoHa module is needed."""
    (module,), _ = adapted_modules(name for name in LOHA if name != f"m{ending}")
    assert module.missing_ending() == ending


def test_a_kronecker_factor_may_stand_whole_or_as_two_low_rank_parts() -> None:
    """Both are complete; the rank is that of the parts, none when both factors stand whole."""
    modules, _ = adapted_modules(["a.lokr_w1", "a.lokr_w2", "b.lokr_w1", "b.lokr_w2_a", "b.lokr_w2_b"])
    assert [module.missing_ending() for module in modules] == [None, None]
    assert [module.rank_tensor() for module in modules] == [None, "b.lokr_w2_b"]


def test_what_belongs_to_no_module_is_listed() -> None:
    """Weights of a full model and an embedding's, sorted."""
    modules, others = adapted_modules(["unet.conv_in.weight", "emb_params"])
    assert modules == []
    assert others == ["emb_params", "unet.conv_in.weight"]


def test_no_ending_is_another_formats_too() -> None:
    """A tensor's name decides its format: no ending of one ends with another's."""
    endings = [ending for family in FAMILIES for ending in family.endings]
    pairs = [(one, other) for one in endings for other in endings if one != other and one.endswith(other)]
    assert pairs == []
