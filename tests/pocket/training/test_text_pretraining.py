"""The text encoder learns what captions mention."""

from dataclasses import replace
from pathlib import Path

import torch
from transformers import CLIPTokenizer

from pocket.faces.character import sample_character
from pocket.models import shapes
from pocket.training.fit import Plan, fit
from pocket.training.text_pretraining import NOT_MENTIONED, QUESTIONS, CaptionClassifier, labels, questions_loss


def test_a_caption_answers_only_what_it_says() -> None:
    """Questions a caption does not answer are passed over, in tags and in sentences."""
    who = replace(
        sample_character(3), gender="girl", hair_color="blue", hair_length="long", eye_color="green",
        expression="smiling", glasses=True, background="white",
    )  # fmt: skip

    def answers(text: str) -> dict[str, str]:
        indices = labels(text, who, "photo")
        return {
            name: values[k] for (name, values), k in zip(QUESTIONS.items(), indices, strict=True) if k != NOT_MENTIONED
        }

    assert answers("portrait, high quality") == {}
    assert answers("a photo of a woman with long blue hair wearing glasses") == {
        "gender": "girl", "hair_color": "blue", "hair_length": "long", "glasses": "glasses", "domain": "photo",
    }  # fmt: skip
    assert answers("green eyes, smiling, white background") == {
        "eye_color": "green", "expression": "smiling", "background": "white",
    }  # fmt: skip


def test_a_text_encoder_learns_from_captions(tokenizer: CLIPTokenizer, tmp_path: Path) -> None:
    """Forty steps lower the loss of questions about captions it has not seen."""
    torch.manual_seed(0)
    classifier = CaptionClassifier(shapes.text_encoder(tokenizer))
    loss = questions_loss(classifier, tokenizer, 16, "cpu")
    unseen = torch.Generator().manual_seed(77)
    before = float(loss(unseen).detach())
    fit(classifier, loss, Plan("text_encoder", 40, 2e-3, 1, tmp_path, warmup=5))
    assert float(loss(unseen.manual_seed(77)).detach()) < 0.95 * before
