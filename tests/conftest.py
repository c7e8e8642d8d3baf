"""What every test stands on: no network, no configuration or cache of the machine, a folder of its own."""

import os
import signal
import socket
import sys

import pytest

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before torch loads: workers share the cores, and networks are small

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as under nohup: children would never notice a Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)

CACHES = (
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "HF_HOME",
    "ADDSR_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """The working folder is empty and new; configuration, caches and data lie beside it."""
    for name in [key for key in os.environ if key.startswith("ADDSR_")]:
        monkeypatch.delenv(name)
    root = tmp_path / ".home"
    for name in CACHES:
        monkeypatch.setenv(name, str(root / name.lower()))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.chdir(tmp_path)
    return root


def pytest_addoption(parser):
    parser.addoption(
        "--bf16",
        choices=("fast", "slow"),
        help="run as on a processor that multiplies bf16 fast, or on one that does not; else as on this one",
    )


@pytest.fixture(autouse=True)
def processor(request, monkeypatch):
    """What torch tells of this processor, which decides what precision ``auto`` is, follows ``--bf16``."""
    chosen = request.config.getoption("--bf16")
    if chosen:
        import torch

        monkeypatch.setattr(
            torch.cpu, "_is_amx_tile_supported", lambda: chosen == "fast", raising=False
        )
        monkeypatch.setattr(
            torch.cpu, "_is_avx512_bf16_supported", lambda: chosen == "fast", raising=False
        )


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    """Connections that leave this machine fail, whoever asks for them; tests marked ``network`` are let through."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in (
            "127.0.0.1",
            "::1",
            "localhost",
        ):
            raise AssertionError(f"a test tried to reach {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Every device: the processor in the fast suite, and CUDA under the marker ``gpu``."""
    if request.param == "cuda":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("needs a CUDA device")
    return request.param


@pytest.fixture
def denoise(monkeypatch):
    """Put something else in the place of the network; it is given the latent and the true network's answer."""
    from addsr_cli.models.nano.restorer import Nano

    true = Nano.denoise

    def install(fake):
        def around(self, z, t, control, cond):
            return fake(self, z, lambda: true(self, z, t, control, cond))

        monkeypatch.setattr(Nano, "denoise", around)

    return install


@pytest.fixture
def pair():
    """Three pictures and the same under noise, (3, 3, 24, 31), float32 in [0, 1]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, 24, 31, generator=generator)
    return clean, (clean + 0.2 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)


@pytest.fixture
def server(monkeypatch):
    """A Hub with the same files in three repositories, asked without pauses."""
    from hub_samples import FILES
    from huggingface_hub import close_session, constants
    from loopback import Hub, Repo

    from addsr_cli.weights import transfer

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transfer, "PAUSE", 0.01)
    close_session()
    running = Hub()
    running.repos = {f"org/{name}": Repo(dict(FILES)) for name in ("first", "second", "third")}
    yield running
    close_session()
    running.stop()


@pytest.fixture
def fetch(server):
    """Fetch a component from the imitation."""
    from addsr_cli.weights import sources

    return lambda component, **more: sources.fetch(
        component, offline=False, endpoint=server.endpoint, **more
    )


@pytest.fixture
def hub(server, monkeypatch):
    """A Hub that serves every component, tiny, and that the program asks for all it fetches."""
    from tiny_hub import fill

    return fill(server, monkeypatch)


@pytest.fixture(scope="session")
def perceptual_state():
    """Random weights of LPIPS and DISTS in the sizes of the published ones."""
    from perceptual_samples import random_state

    return random_state()


@pytest.fixture
def perceptual_weights(home, perceptual_state):
    """The same, where the program looks for them."""
    from safetensors.torch import save_file

    from addsr_cli.perceptual import weights_file

    weights_file().parent.mkdir(parents=True, exist_ok=True)
    save_file(perceptual_state, weights_file())
    return perceptual_state


@pytest.fixture
def small_vgg(home, monkeypatch):
    """Random weights of LPIPS on a VGG16 of eight channels, where the program looks for them."""
    import torch
    from safetensors.torch import save_file

    from addsr_cli import perceptual

    monkeypatch.setattr(perceptual, "VGG", tuple((8,) * len(widths) for widths in perceptual.VGG))
    monkeypatch.setitem(perceptual.STAGES, "vgg", (8,) * len(perceptual.VGG))
    torch.manual_seed(0)
    made = perceptual.LPIPS("vgg")
    for conv in made.backbone.convs:
        torch.nn.init.kaiming_normal_(conv.weight)  # features neither vanish nor grow
        torch.nn.init.zeros_(conv.bias)
    for head in made.heads:
        torch.nn.init.uniform_(head)
    perceptual.weights_file().parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"vgg.{key}": value for key, value in made.state_dict().items()}, perceptual.weights_file()
    )
