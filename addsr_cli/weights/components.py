"""All that can be downloaded: the published models of every architecture, and their components."""

from addsr_cli.models.component import Component, FileSpec, Source
from addsr_cli.models.published import PublishedModel
from addsr_cli.models.registry import ARCHITECTURES

DINO = Component(
    name="dino",
    title="DINO ViT-S/16, features of the training discriminator",
    sources=(Source(repo="timm/vit_small_patch16_224.dino"),),
    files=(
        FileSpec(path="config.json", approximate_size=600),
        FileSpec(path="model.safetensors", approximate_size=86_700_000),
    ),
    licence="Apache-2.0",
)
DINOV2 = Component(
    name="dinov2",
    title="DINOv2 ViT-S/14, condition of the training discriminator",
    sources=(
        Source(repo="facebook/dinov2-small", revision="ed25f3a31f01632728cabb09d1542f84ab7b0056"),
    ),
    files=(
        FileSpec(path="config.json", approximate_size=600),
        FileSpec(
            path="model.safetensors",
            approximate_size=88_200_000,
            sha256="ae1e99fcefd534ed978cdeb8326f08030c96e28b7a81ffcbc98a857c84d14be1",
            confidence="A",
        ),
    ),
    licence="Apache-2.0",
)
PUBLISHED: dict[str, PublishedModel] = {
    model.name: model for architecture in ARCHITECTURES.values() for model in architecture.published
}
MODEL_COMPONENTS = {name: model.components for name, model in PUBLISHED.items()}
COMPONENTS: dict[str, Component] = {
    component.name: component
    for components in (*MODEL_COMPONENTS.values(), (DINO, DINOV2))
    for component in components
}
