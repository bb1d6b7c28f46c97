"""Train the second LoRA that comes with the repository: `python benchmarks/second_adapter.py`.

"LoRAs combine" needs two styles. This one learns the retro 90s style of the renderings on the base of `params.yaml`,
without a trigger word, by the project's own train stage, and lands in `data/adapters/`. Train it again whenever the
base in `data/base/` changes: a LoRA belongs to the weights it was trained on. Minutes on two cores.
"""

import shutil
import tempfile
from pathlib import Path

from anime_lora.config import paths
from anime_lora.config.load import load_params
from anime_lora.config.section import Concept
from anime_lora.diffusion.base_model import locate, weights_hash
from anime_lora.files import sha256_file, write_jsonl, write_text
from anime_lora.sampling.stage import ADAPTER
from anime_lora.training.stage import train
from pocket.faces.captions import tags
from pocket.faces.character import sample_character
from pocket.faces.domains import render

DOMAIN, OUT = "retro90s", Path("data/adapters")
COUNT, HELD, SEED = 64, 8, 4_000_000
"""Images, those held out, and the first character's seed: none of them is in `data/samples/`."""
SMALL = {"rank": 4, "alpha": 4.0, "target": "attn+ff", "epochs": 8, "learning_rate": 2e-3, "validation_images": 1}


def write_dataset(folder: Path, side: int, class_name: str) -> None:
    """`COUNT` characters as the domain shows them, captioned by their attributes and the class."""
    rows = []
    for number in range(COUNT):
        character, name = sample_character(SEED + number), f"{number:03d}.png"
        render(character, DOMAIN, side).save(folder / name)
        mark, split = sha256_file(folder / name), "holdout" if number < HELD else "train"
        row = {"file": name, "text": f"{class_name} {tags(character)}", "id": mark, "split": split}
        rows.append({**row, "cluster": mark, "pixel_sha256": mark, "file_sha256": mark})
    write_jsonl(folder / "metadata.jsonl", rows)


def main() -> None:
    params = load_params(paths.PARAMS)
    settings = params.train.model_copy(update=SMALL)
    word = params.concept.class_name
    concept = Concept(trigger=word, class_name=word, instance_prompt=word)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "faces").mkdir()
        write_dataset(work / "faces", params.base.resolution, concept.class_name)
        train(settings, concept, params.base, params.compute, work / "faces", work / "train", work / "cache")
        OUT.mkdir(exist_ok=True)
        shutil.copy(work / "train" / ADAPTER, OUT / f"{DOMAIN}.safetensors")
    base = weights_hash(locate(params.base))[:16]
    write_text(
        OUT / "README.md",
        "# A second LoRA\n\n"
        f"`{DOMAIN}.safetensors`: rank {SMALL['rank']}, the retro 90s style of the renderings, {COUNT - HELD} faces,"
        f" on the base whose weights hash begins with `{base}`. CC0.\n"
        "It stands for a LoRA from somewhere else: validate-sample combines tonight's with it"
        " (`validate_sample.second_adapter`).\n\n"
        "`python benchmarks/second_adapter.py` trains it again.\n",
    )


if __name__ == "__main__":
    main()
