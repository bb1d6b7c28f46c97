"""The pocket CLIP: contrastive learning where every picture a caption is true of counts as its match."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from anime_lora.pocket import models
from anime_lora.pocket.captions import attribute_prompt, domain_prompt
from anime_lora.pocket.character import ATTRIBUTES, attributes
from anime_lora.pocket.corpus import Corpus
from anime_lora.pocket.diffusion import tokens
from anime_lora.pocket.fit import Loss, Plan, fit

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI CLIP's normalisation, so that its processor can be used."""


def questions(domains: tuple[str, ...]) -> list[tuple[str, tuple[str, ...], list[str]]]:
    """Every zero-shot question: name, values, one text per value."""
    asked = [(name, values, [attribute_prompt(name, value) for value in values]) for name, values in ATTRIBUTES.items()]
    return [*asked, ("domain", domains, [domain_prompt(value) for value in domains])]


def answers(corpus: Corpus, count: int) -> NDArray[np.int64]:
    """True value index of each question for the first `count` pictures, (count, questions)."""
    asked = questions(corpus.domains)
    rows = []
    for index in range(count):
        truth = attributes(corpus.character(index)) | {"domain": corpus.domain(index)}
        rows.append([values.index(truth[name]) for name, values, _ in asked])
    return np.array(rows)


def train_scorer(
    pictures: NDArray[np.uint8], corpus: Corpus, tokenizer: CLIPTokenizer, plan: Plan, batch: int
) -> CLIPModel:
    """Learn to match `pictures` (n, 128, 128, 3) with texts."""
    torch.manual_seed(plan.seed)
    model = models.scorer(tokenizer)
    fit(model, _loss(model, pictures, corpus, tokenizer, batch=batch, device=plan.device), plan)
    return model


def _loss(
    model: CLIPModel, pictures: NDArray[np.uint8], corpus: Corpus, tokenizer: CLIPTokenizer, *, batch: int, device: str
) -> Loss:
    asked = questions(corpus.domains)
    truth = torch.from_numpy(answers(corpus, len(pictures)))
    single = tokens(tokenizer, [text for _, _, texts in asked for text in texts]).to(device)
    sizes = [len(values) for _, values, _ in asked]

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(pictures), (batch,), generator=generator)
        seen = augment(np.stack([pictures[int(row)] for row in rows]), generator).to(device)
        facts = truth[rows].to(device)
        image = functional.normalize(model.get_image_features(pixel_values=seen).pooler_output, dim=-1)
        text = functional.normalize(model.get_text_features(input_ids=single).pooler_output, dim=-1)
        scores = (model.logit_scale.exp().clamp(max=100) * image @ text.T).split(sizes, dim=1)
        each = [functional.cross_entropy(score, facts[:, k], label_smoothing=0.02) for k, score in enumerate(scores)]
        return torch.stack(each).mean() + _pairs(model, image, facts, generator)

    def _pairs(model: CLIPModel, image: Tensor, facts: Tensor, generator: torch.Generator) -> Tensor:
        """Captions of two or three facts each; all pictures of the batch they are true of are matches."""
        count = 32
        chosen = torch.rand(count, facts.shape[1], generator=generator).argsort(1)[:, :3].to(device)
        values = facts[:count].gather(1, chosen)
        pairs = [zip(ks, vs, strict=True) for ks, vs in zip(chosen.tolist(), values.tolist(), strict=True)]
        lines = [", ".join(asked[k][2][v] for k, v in pair) for pair in pairs]
        words = tokens(tokenizer, lines).to(device)
        text = functional.normalize(model.get_text_features(input_ids=words).pooler_output, dim=-1)
        known = facts[None].expand(count, -1, -1).gather(2, chosen[:, None].expand(-1, len(facts), -1))
        match = (known == values[:, None]).all(-1)
        logits = model.logit_scale.exp().clamp(max=100) * text @ image.T
        likelihood: Tensor = logits.log_softmax(1) * match / match.sum(1, keepdim=True)
        return -likelihood.sum(1).mean()

    return loss


def augment(pictures: NDArray[np.uint8], generator: torch.Generator) -> Tensor:
    """Bytes (n, s, s, 3) to CLIP's input (n, 3, s, s): flips, shifts, blur, noise and exposure."""
    seen = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    flip = torch.rand(len(seen), generator=generator) < 0.5
    seen[flip] = seen[flip].flip(-1)
    blurred = torch.rand(len(seen), generator=generator) < 0.4
    seen[blurred] = functional.interpolate(functional.avg_pool2d(seen[blurred], 2), scale_factor=2, mode="bilinear")
    dx, dy = torch.randint(-6, 7, (2,), generator=generator).tolist()
    seen = functional.pad(seen, (6, 6, 6, 6), mode="replicate")[..., 6 + dy : 6 + dy + 128, 6 + dx : 6 + dx + 128]
    gain = 1 + 0.08 * torch.randn((len(seen), 1, 1, 1), generator=generator)
    seen = (seen * gain + 0.02 * torch.randn(seen.shape, generator=generator)).clamp(0, 1)
    mean, std = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return (seen - mean) / std
