"""The pocket CLIP: contrastive learning where every picture a caption is true of counts as its match."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTokenizer, VisionTextDualEncoderModel

from anime_lora.pocket import models
from anime_lora.pocket.captions import attribute_prompt, domain_prompt
from anime_lora.pocket.character import ATTRIBUTES, attributes
from anime_lora.pocket.corpus import Corpus
from anime_lora.pocket.domains import DOMAINS
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


class Pupil(nn.Module):
    """The scorer, and one linear head per question that is thrown away when it has learned.

    The heads lead the way: a text tower that cannot tell two values apart yet gives pictures no reason to.
    """

    def __init__(self, tokenizer: CLIPTokenizer, answers: int) -> None:
        super().__init__()
        self.clip: VisionTextDualEncoderModel = models.scorer(tokenizer)
        self.heads = nn.Linear(self.clip.visual_projection.out_features, answers)

    def pictures(self, seen: Tensor) -> Tensor:
        """Projected picture features, not normalised, (n, d)."""
        features: Tensor = self.clip.get_image_features(pixel_values=seen).pooler_output
        return features

    def texts(self, ids: Tensor) -> Tensor:
        """Unit vectors of texts (n, tokens), times the temperature, (n, d)."""
        features = functional.normalize(self.clip.get_text_features(input_ids=ids).pooler_output, dim=-1)
        scaled: Tensor = self.clip.logit_scale.exp().clamp(max=100) * features
        return scaled


class Lesson:
    """Pictures of several corpora (n, 128, 128, 3) and the answers to every question about them."""

    def __init__(self, corpora: Sequence[Corpus], folder: Path) -> None:
        self.pictures = [corpus.open(folder) for corpus in corpora]
        self.truth = torch.from_numpy(np.concatenate([answers(corpus, corpus.count) for corpus in corpora]))
        self.ends = np.cumsum([len(part) for part in self.pictures])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, row: int) -> NDArray[np.uint8]:
        part = int(np.searchsorted(self.ends, row, side="right"))
        picture: NDArray[np.uint8] = self.pictures[part][row - self.ends[part] + len(self.pictures[part])]
        return picture


def train_scorer(lesson: Lesson, tokenizer: CLIPTokenizer, plan: Plan, batch: int) -> VisionTextDualEncoderModel:
    """Learn to match the pictures of `lesson` with texts."""
    torch.manual_seed(plan.seed)
    pupil = Pupil(tokenizer, sum(len(values) for _, values, _ in questions(DOMAINS)))
    pupil.clip.to(memory_format=torch.channels_last)
    fit(pupil, _loss(pupil, lesson, tokenizer, batch=batch, device=plan.device), plan)
    return pupil.clip


def _loss(pupil: Pupil, lesson: Lesson, tokenizer: CLIPTokenizer, *, batch: int, device: str) -> Loss:
    asked = questions(DOMAINS)
    single = _short(tokenizer, [text for _, _, texts in asked for text in texts]).to(device)
    sizes = [len(values) for _, values, _ in asked]

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(lesson), (batch,), generator=generator)
        seen = augment(np.stack([lesson[int(row)] for row in rows]), generator).to(device)
        facts = lesson.truth[rows].to(device)
        features = pupil.pictures(seen)
        image = functional.normalize(features, dim=-1)
        both = (image @ pupil.texts(single).T, pupil.heads(features))
        scores = [part for each in both for part in each.split(sizes, dim=1)]
        wrong = [
            functional.cross_entropy(s, facts[:, k % len(sizes)], label_smoothing=0.02) for k, s in enumerate(scores)
        ]
        return 2 * torch.stack(wrong).mean() + 0.3 * _pairs(image, facts, generator)

    def _pairs(image: Tensor, facts: Tensor, generator: torch.Generator) -> Tensor:
        """Captions of three facts each; all pictures of the batch they are true of are matches."""
        count = min(16, len(facts))
        chosen = torch.rand(count, facts.shape[1], generator=generator).argsort(1)[:, :3].to(device)
        values = facts[:count].gather(1, chosen)
        pairs = [zip(ks, vs, strict=True) for ks, vs in zip(chosen.tolist(), values.tolist(), strict=True)]
        lines = [", ".join(asked[k][2][v] for k, v in pair) for pair in pairs]
        known = facts[None].expand(count, -1, -1).gather(2, chosen[:, None].expand(-1, len(facts), -1))
        match = (known == values[:, None]).all(-1)
        logits = pupil.texts(_short(tokenizer, lines).to(device)) @ image.T
        likelihood: Tensor = logits.log_softmax(1) * match / match.sum(1, keepdim=True)
        return -likelihood.sum(1).mean()

    return loss


def _short(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids padded to the longest: the tower is causal and reads at the end token, so padding changes nothing."""
    ids: Tensor = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids
    return ids


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
    return _normalised(seen).contiguous(memory_format=torch.channels_last)


def _normalised(seen: Tensor) -> Tensor:
    """Pictures (n, 3, h, w) in 0..1 as CLIP takes them."""
    return (seen - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
