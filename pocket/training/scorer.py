"""The pocket CLIP: contrastive learning where every image a caption is true of counts as its match."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from pocket.faces.captions import attribute_prompt, domain_prompt
from pocket.faces.character import ATTRIBUTES, attributes
from pocket.faces.domains import landmarks
from pocket.models import shapes
from pocket.training.corpus import Corpus
from pocket.training.fit import Loss, Plan, fit

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""OpenAI CLIP's normalisation, so that its processor can be used."""
EYES = ("left eye", "right eye")
POINTS = (*EYES, "mouth", "bow", "crown")


@dataclass(frozen=True)
class Question:
    """A zero-shot question: its name, the possible values, and one text per value."""

    name: str
    values: tuple[str, ...]
    texts: tuple[str, ...]


def questions(domains: tuple[str, ...]) -> list[Question]:
    """One question per attribute, and the one for the domain."""
    attribute_questions = [
        Question(name, values, tuple(attribute_prompt(name, value) for value in values))
        for name, values in ATTRIBUTES.items()
    ]
    return [*attribute_questions, Question("domain", domains, tuple(map(domain_prompt, domains)))]


def answers(corpus: Corpus, count: int) -> NDArray[np.int64]:
    """True value index of each question for the first `count` images, (count, questions)."""
    known = questions(corpus.domains)
    rows = []
    for index in range(count):
        truth = attributes(corpus.character(index)) | {"domain": corpus.domain(index)}
        rows.append([question.values.index(truth[question.name]) for question in known])
    return np.array(rows)


ANSWER_POINTS = {
    "gender": ("bow", "mouth"),
    "hair_color": ("crown",),
    "eye_color": EYES,
    "glasses": EYES,
    "expression": ("mouth",),
}
"""Where in an image the answer to a question is seen."""
TOKEN_LAYER = 2
"""The layer (of 4) whose tokens are trained on what is seen where they are."""


def landmark_points(corpus: Corpus, count: int) -> Tensor:
    """`POINTS` of the first `count` images, (count, points, 2): x and y in 0..1."""
    marks = [landmarks(corpus.character(index), corpus.domain(index)) for index in range(count)]
    return torch.tensor([[mark[name] for name in POINTS] for mark in marks])


class ScorerWithHeads(nn.Module):
    """The scorer, and linear heads per question that are discarded after training.

    Early on the heads give the gradient: a text encoder that cannot tell two values apart gives images none, and a
    transformer that is not told where to look does not find so small a thing as a mouth.
    """

    def __init__(self, tokenizer: CLIPTokenizer, answers: int) -> None:
        super().__init__()
        self.clip: CLIPModel = shapes.scorer(tokenizer)
        self.heads = nn.Linear(self.clip.config.projection_dim, answers)
        self.token_heads = nn.Linear(self.clip.config.vision_config.hidden_size, answers)

    def image_features(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Projected image features, not normalised, (n, d), and the map of tokens inside, (n, width, side, side)."""
        vision = self.clip.vision_model(pixel_values=pixels, output_hidden_states=True)
        tokens = vision.hidden_states[TOKEN_LAYER][:, 1:].transpose(1, 2)
        features: Tensor = self.clip.visual_projection(vision.pooler_output)
        return features, tokens.unflatten(2, (math.isqrt(tokens.shape[2]), -1))

    def text_features(self, ids: Tensor) -> Tensor:
        """Unit vectors of texts (n, tokens), times the temperature, (n, d)."""
        features = functional.normalize(self.clip.get_text_features(input_ids=ids).pooler_output, dim=-1)
        scaled: Tensor = self.clip.logit_scale.exp().clamp(max=100) * features
        return scaled


def train_scorer(
    images: NDArray[np.uint8], corpus: Corpus, tokenizer: CLIPTokenizer, plan: Plan, batch: int
) -> CLIPModel:
    """Learn to match `images` (n, 128, 128, 3) with texts."""
    torch.manual_seed(plan.seed)
    scorer = ScorerWithHeads(tokenizer, sum(len(question.values) for question in questions(corpus.domains)))
    init_patch_embedding(scorer.clip, images[:: max(1, len(images) // 400)])
    init_position_embedding(scorer.clip)
    fit(scorer, _loss(scorer, images, corpus, tokenizer, batch=batch, device=plan.device), plan)
    return scorer.clip


@torch.no_grad()
def init_patch_embedding(model: CLIPModel, images: NDArray[np.uint8]) -> None:
    """Start the patch embedding as the principal components of patches, each to deviation 1.

    So edges count from the start: from random filters brightness and colour dominate, and 900 steps had learned colours
    only.
    """
    kernel = model.vision_model.embeddings.patch_embedding.weight
    width, size = kernel.shape[0], kernel.shape[-1]
    seen = _normalised(torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 255)
    patches = seen.unfold(2, size, size).unfold(3, size, size).permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    patches = (patches - patches.mean(0)).double()
    variance, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    variance, vectors = variance.flip(0)[:width], vectors.flip(1)[:, :width]
    kernel.copy_((vectors / (variance + 1e-4 * variance[0]).sqrt()).T.reshape(kernel.shape))


@torch.no_grad()
def init_position_embedding(model: CLIPModel) -> None:
    """Start the position embedding as sines of row and column (Vaswani et al. 2017, in two directions)."""
    positions = model.vision_model.embeddings.position_embedding.weight
    side, waves = math.isqrt(len(positions) - 1), positions.shape[1] // 4
    angle = torch.arange(float(side))[:, None] / 10000 ** (torch.arange(waves) / waves)
    row, column = angle.repeat_interleave(side, 0), angle.repeat(side, 1)
    positions[1:] = torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 1)


def _loss(
    scorer: ScorerWithHeads,
    images: NDArray[np.uint8],
    corpus: Corpus,
    tokenizer: CLIPTokenizer,
    *,
    batch: int,
    device: str,
) -> Loss:
    known = questions(corpus.domains)
    truth, points = torch.from_numpy(answers(corpus, len(images))), landmark_points(corpus, len(images))
    single = _short(tokenizer, [text for question in known for text in question.texts]).to(device)
    sizes = [len(question.values) for question in known]

    def loss(generator: torch.Generator) -> Tensor:
        rows = torch.randint(len(images), (batch,), generator=generator)
        seen, spots = augment(np.stack([images[int(row)] for row in rows]), points[rows], generator)
        facts = truth[rows].to(device)
        features, tokens = scorer.image_features(seen.to(device))
        image = functional.normalize(features, dim=-1)
        both = (image @ scorer.text_features(single).T, scorer.heads(features))
        scores = [part for each in both for part in each.split(sizes, dim=1)]
        losses = [
            functional.cross_entropy(s, facts[:, k % len(sizes)], label_smoothing=0.02) for k, s in enumerate(scores)
        ]
        return (
            2 * torch.stack(losses).mean() + 0.3 * _pairs(image, facts, generator) + _token_loss(tokens, spots, facts)
        )

    def _token_loss(tokens: Tensor, spots: Tensor, facts: Tensor) -> Tensor:
        """Cross entropy of the answers read from the tokens where they are seen."""
        there = functional.grid_sample(tokens, 2 * spots.to(device)[:, None] - 1, align_corners=False)[:, :, 0]
        losses = []
        for k, question in enumerate(known):
            if question.name in ANSWER_POINTS:
                mean = there[:, :, [POINTS.index(point) for point in ANSWER_POINTS[question.name]]].mean(2)
                losses.append(functional.cross_entropy(scorer.token_heads(mean).split(sizes, dim=1)[k], facts[:, k]))
        return torch.stack(losses).mean()

    def _pairs(image: Tensor, facts: Tensor, generator: torch.Generator) -> Tensor:
        """Captions of three facts each; all images of the batch they are true of are matches."""
        count = min(16, len(facts))
        chosen = torch.rand(count, facts.shape[1], generator=generator).argsort(1)[:, :3].to(device)
        values = facts[:count].gather(1, chosen)
        pairs = [zip(ks, vs, strict=True) for ks, vs in zip(chosen.tolist(), values.tolist(), strict=True)]
        lines = [", ".join(known[k].texts[v] for k, v in pair) for pair in pairs]
        answered = facts[None].expand(count, -1, -1).gather(2, chosen[:, None].expand(-1, len(facts), -1))
        match = (answered == values[:, None]).all(-1)
        logits = scorer.text_features(_short(tokenizer, lines).to(device)) @ image.T
        likelihood: Tensor = logits.log_softmax(1) * match / match.sum(1, keepdim=True)
        return -likelihood.sum(1).mean()

    return loss


def _short(tokenizer: CLIPTokenizer, texts: list[str]) -> Tensor:
    """Token ids padded to the longest: causal, and read at the end token, so padding changes nothing."""
    ids: Tensor = tokenizer(texts, padding=True, truncation=True, return_tensors="pt").input_ids
    return ids


def augment(images: NDArray[np.uint8], points: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Bytes (n, s, s, 3) as CLIP takes them (n, 3, s, s), flipped, shifted, blurred, noisy; points (n, k, 2) follow."""
    side = images.shape[1]
    seen = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    flip = torch.rand(len(seen), generator=generator) < 0.5
    seen[flip] = seen[flip].flip(-1)
    blurred = torch.rand(len(seen), generator=generator) < 0.4
    seen[blurred] = functional.interpolate(functional.avg_pool2d(seen[blurred], 2), scale_factor=2, mode="bilinear")
    dx, dy = torch.randint(-6, 7, (2,), generator=generator).tolist()
    seen = functional.pad(seen, (6, 6, 6, 6), mode="replicate")[..., 6 + dy : 6 + dy + side, 6 + dx : 6 + dx + side]
    gain = 1 + 0.08 * torch.randn((len(seen), 1, 1, 1), generator=generator)
    seen = (seen * gain + 0.02 * torch.randn(seen.shape, generator=generator)).clamp(0, 1)
    points = torch.where(flip[:, None, None], torch.tensor([1.0, 0.0]) + torch.tensor([-1.0, 1.0]) * points, points)
    return _normalised(seen), points - torch.tensor([dx, dy]) / side


def _normalised(seen: Tensor) -> Tensor:
    """Images (n, 3, h, w) in 0..1 as CLIP takes them."""
    return (seen - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
