# syntax=docker/dockerfile:1
# docker build -t addsr .                                                          CPU only
# docker build -t addsr:cuda --build-arg PYTORCH_INDEX=https://pypi.org/simple .   NVIDIA GPUs (PyPI's torch has CUDA)
# docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/photos" addsr photo.jpg
# docker run --rm --gpus all -v addsr-models:/models -v "$PWD:/photos" addsr:cuda photo.jpg
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ARG PYTORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG EXTRAS=raw,jxl
WORKDIR /source
RUN python -m venv /opt/addsr
COPY constraints.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/addsr/bin/pip install -c constraints.txt torch --index-url "${PYTORCH_INDEX}"
COPY . .
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/addsr/bin/pip install -c constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/addsr /opt/addsr
# Any user may write here, so that docker run --user works. A volume at /models keeps downloaded models.
RUN useradd --create-home --uid 1000 addsr && install -d -m 1777 /models /photos
ENV PATH=/opt/addsr/bin:$PATH \
    HOME=/tmp \
    ADDSR_HOME=/models \
    HF_HOME=/models/huggingface
USER 1000
WORKDIR /photos
ENTRYPOINT ["addsr"]
CMD ["--help"]
