# The worker's and the server's image: Python, Git and the pinned packages; the project itself is mounted or cloned.
# torch comes with CUDA; on a machine without NVIDIA's driver it runs on the CPU.
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /project
COPY pyproject.toml constraints.txt README.md ./
COPY anime_lora anime_lora
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[dask,s3]'

CMD ["python", "-m", "flows", "serve"]
