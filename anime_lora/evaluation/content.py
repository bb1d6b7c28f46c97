"""What the report says, as one plain JSON-able dict: numbers and sentences, no markup.

`evaluate` saves it as `report.json` and hands it to `report.write_report`, which turns it into a page.
All paths are relative to the folder the report lies in. Numbers are floats (never NaN), intervals `[low, high]`
at 95 % or null, `n` counts the clusters an interval resamples (prompts or sources), `pictures` what was looked at.
Texts are plain text without markup; `id`s are unique within their list and fit an HTML anchor.

{
  "version": 1,
  "title":    "myAnimeStyleToken anime_face",
  "subtitle": "LoRA of rank 16 on data/base/pocket, 5 epochs, 215 pictures",
  "verdict": {
      "level": "good" | "mixed" | "bad",             # colour of the headline
      "headline": "The style was learned",            # <= 60 characters
      "sentences": ["...", ...]                       # 1 to 4, what a person should take away
  },
  "hero": picture,                                    # base beside LoRA on the same seeds
  "key_numbers": [                                    # 4 to 6 cards
      {"id", "label": "Style S", "value": 0.71, "text": "0.71", "interval": [0.6, 0.8] | null, "n": 8 | null,
       "hint": "0 is the base, 1 is as close as real pictures are to each other"}, ...
  ],
  "claims": [                                         # one row per claim of the write-up, in its order
      {"id": "style", "claim": "The model learned the style",
       "verdict": "shown" | "not shown" | "not measurable here",
       "metric": "Style S", "value": 0.71 | null, "text": "0.71" | "–", "interval": [low, high] | null,
       "n": 8 | null, "clusters": "prompts" | "sources" | null, "pictures": 16 | null,
       "rule": "lower bound of S above 0",            # what would count as shown
       "reason": "...",                               # one sentence: why this verdict
       "gallery": "base-lora" | null, "curve": "strength" | null,   # ids below, to jump to
       "details": [{"label": "CMMD, unbiased", "text": "0.41 [0.33, 0.52], n = 16 and 24"}, ...]}, ...
  ],
  "galleries": [
      {"id": "base-lora", "title": "Base beside LoRA", "caption": "...", "pictures": [picture, ...]}, ...
  ],
  "curves": [
      {"id": "strength", "title": "...", "caption": "...", "x_label": "strength", "y_label": "score",
       "series": [{"name": "style, LoRA", "points": [{"x": 0.3, "y": 0.12, "low": 0.1, "high": 0.2}, ...]}, ...],
       "marks": [{"axis": "x" | "y", "at": 0.65, "label": "mission: 0.65"}, ...],
       "csv": "plots/strength.csv"}, ...              # low and high may be null; 1 to 5 series
  ],
  "confusions": [
      {"id": "hair-colour", "title": "hair colour", "rows": ["blue hair", ...], "columns": [...],   # asked x seen
       "counts": [[7, 1], ...], "accuracy": 0.9, "interval": [low, high] | null, "ceiling": 0.97 | null, "chance": 0.1},
      ...
  ],
  "tables": [
      {"id": "guidance", "title": "...", "caption": "...", "columns": ["guidance", "style", ...],
       "rows": [["5", "0.62 [0.51, 0.70]", ...], ...]}, ...          # cells are text, ready to show
  ],
  "skipped": [{"what": "DINOv2 similarity", "reason": "..."}, ...],   # shown as a quiet list
  "notes": ["...", ...],                              # how to read the page; definitions
  "lineage": [{"label": "Adapter", "value": "sha256 1f0c…"}, ...]
}

picture = {"file": "../validate-sample/grids/base-lora.png",   # full size
           "preview": "../validate-sample/grids/base-lora.webp" | null,   # <= 300 KB; embed this one
           "label": "short title", "alt": "what is seen", "width": 1200, "height": 640}
"""
