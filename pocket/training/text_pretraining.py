"""The text encoder is trained on captions before it conditions the UNet, as CLIP is before Stable Diffusion.

It learns which attribute has which value: from images alone a small one is slow to tell blue hair from a blue
background.
"""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from pocket.faces.captions import DOMAIN_WORDS, GENDER_WORDS, caption
from pocket.faces.character import ATTRIBUTES, Character, sample_character
from pocket.faces.domains import BASE_DOMAINS
from pocket.training.fit import Loss, Plan, fit

QUESTIONS: dict[str, tuple[str, ...]] = {**ATTRIBUTES, "domain": BASE_DOMAINS}
NOT_MENTIONED = -100
"""The label that cross entropy leaves out."""
SHORT = 44
"""Tokens of three batches in four: longer than nearly every caption, and cheaper than all 77."""
PEOPLE = 100_000


class CaptionClassifier(nn.Module):
    """A text encoder with one linear head per question on the padding after the caption; the heads are discarded.

    A UNet attends to 77 tokens, most of them padding: what they hold counts most.
    """

    def __init__(self, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.heads = nn.Linear(text_encoder.config.hidden_size, sum(map(len, QUESTIONS.values())))

    def forward(self, ids: Tensor) -> list[Tensor]:
        """Scores (n, values) of each question, read at the last token of `ids` (n, tokens)."""
        scores: Tensor = self.heads(self.text_encoder(ids)[0][:, -1])
        return list(torch.split(scores, [len(values) for values in QUESTIONS.values()], dim=1))


def labels(text: str, character: Character, domain: str) -> list[int]:
    """The true value's index of each question that `text` answers, `NOT_MENTIONED` for the others."""
    words = {word.strip(",") for word in text.split()}
    hair = (f"{character.hair_color} hair", f"{character.hair_length} {character.hair_color} hair")
    mentioned = {
        "gender": bool(words & {phrase.split()[-1] for phrase in GENDER_WORDS[character.gender]}),
        "hair_color": hair[0] in text,
        "hair_length": f"{character.hair_length} hair" in text or hair[1] in text,
        "eye_color": f"{character.eye_color} eyes" in text,
        "expression": character.expression in words,
        "glasses": "glasses" in words,
        "background": f"{character.background} background" in text,
        "domain": any(word in text for word in DOMAIN_WORDS[domain]),
    }
    truth = {name: getattr(character, name) for name in ATTRIBUTES} | {"glasses": "glasses", "domain": domain}
    return [values.index(truth[name]) if mentioned[name] else NOT_MENTIONED for name, values in QUESTIONS.items()]


def pretrain_text_encoder(text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer, plan: Plan, batch: int) -> None:
    """Train `text_encoder` in place."""
    torch.manual_seed(plan.seed)
    classifier = CaptionClassifier(text_encoder)
    fit(classifier, questions_loss(classifier, tokenizer, batch, plan.device), plan)


def questions_loss(classifier: CaptionClassifier, tokenizer: CLIPTokenizer, batch: int, device: str) -> Loss:
    """The mean cross entropy of the questions that `batch` new captions answer."""

    def loss(generator: torch.Generator) -> Tensor:
        rng = np.random.Generator(np.random.PCG64(int(torch.randint(2**62, (), generator=generator))))
        lines, truth = [], []
        for _ in range(batch):
            character = sample_character(int(rng.integers(PEOPLE)))
            domain = BASE_DOMAINS[int(rng.integers(len(BASE_DOMAINS)))]
            lines.append(caption(character, domain, rng))
            truth.append(labels(lines[-1], character, domain))
        length = tokenizer.model_max_length if rng.random() < 0.25 else SHORT
        ids = tokenizer(lines, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
        targets = torch.tensor(truth, device=device)
        losses = [functional.cross_entropy(s, targets[:, k]) for k, s in enumerate(classifier(ids.to(device)))]
        return torch.stack(losses).nan_to_num().mean()

    return loss
