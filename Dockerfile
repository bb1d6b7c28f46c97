# The worker's and the server's image: Python, Git and the pinned packages; the project itself is mounted or cloned.
# torch comes with CUDA; on a machine without NVIDIA's driver it runs on the CPU.
#
#   docker build --build-arg RUN_AS=$(id -u):$(id -g) --tag anime-lora .
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git openssh-client \
    && rm -rf /var/lib/apt/lists/*

# Who commits, where neither the clone nor GIT_COMMITTER_NAME says; and Git works in a mount that another user owns.
RUN git config --system user.name anime-lora
RUN git config --system user.email anime-lora@localhost
RUN git config --system --add safe.directory /project

WORKDIR /project
COPY pyproject.toml constraints.txt README.md ./
COPY anime_lora anime_lora
RUN pip install --no-cache-dir --constraint constraints.txt --editable '.[dask,flows,s3]'

# As the owner of the mounted folder, so that what a run writes is theirs; a pod clones into /project instead.
# That user owns nothing else, so home and the server's pages lie in /tmp.
RUN chmod 1777 /project
ENV HOME=/tmp PREFECT_SERVER_UI_STATIC_DIRECTORY=/tmp/prefect-ui
ARG RUN_AS=1000:1000
USER ${RUN_AS}

CMD ["python", "-m", "flows", "serve"]
