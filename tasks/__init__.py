"""One Prefect task per stage: DVC brings the stage up to date, the task shows what people look at."""
