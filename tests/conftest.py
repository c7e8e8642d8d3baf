"""Isolation of every test: its own folder, no network, no user configuration or cache."""

import gc
import os
import shutil
import signal
import socket
import sys

import pytest

# Before torch is imported: the workers share the cores, and networks are small.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# As in the command: with torch and a thousand tests in memory, a search through all of them for
# cyclic garbage takes 0.3 s, and would start after every few thousand new objects.
gc.set_threshold(50_000)

# Under nohup, for example, child processes would then ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

CACHES = (
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "XDG_DATA_HOME",
    "HF_HOME",
    "ADDSR_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
)


BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER_OPTIONS = (
    "--no-sandbox",
    "--force-color-profile=srgb",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A new, empty working folder, with configuration, caches and data in ``.home``."""
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


def pytest_collection_finish():
    """Search for garbage among the objects of the tests alone, not among those of the modules."""
    gc.freeze()


def pytest_unconfigure():
    """End without a last search through all modules."""
    gc.freeze()


def pytest_addoption(parser):
    parser.addoption(
        "--bf16",
        choices=("fast", "slow"),
        help="run as on a processor with fast or slow bf16, instead of this machine's",
    )


@pytest.fixture(autouse=True)
def processor(request, monkeypatch):
    """Make torch report the processor of ``--bf16``, which decides the precision ``auto``."""
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
    """Connections that leave this machine fail, except in tests marked ``network``."""
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


@pytest.fixture(scope="session")
def chromium():
    """Start Chromium through Playwright; both are installed separately."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason="needs the browser extra: pip install -e '.[browser]'"
    )
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
    if not program:
        pytest.skip("needs Chromium, as from: apt-get install chromium")
    with driver.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=program, args=BROWSER_OPTIONS)
        yield browser
        browser.close()


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
    """Replace the network by a function of it, the latent, and a call of the real network."""
    from addsr_cli.models.nano.restorer import Nano

    original = Nano.denoise

    def install(fake):
        def wrapped(self, z, t, control, cond):
            return fake(self, z, lambda: original(self, z, t, control, cond))

        monkeypatch.setattr(Nano, "denoise", wrapped)

    return install


@pytest.fixture
def pair():
    """Three pictures and the same with noise, (3, 3, 24, 31), float32 in [0, 1]."""
    import torch

    generator = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, 24, 31, generator=generator)
    return clean, (clean + 0.2 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)


@pytest.fixture
def server(monkeypatch):
    """A local Hub with the same files in three repositories, without pauses between retries."""
    from hub_samples import FILES
    from huggingface_hub import close_session, constants
    from loopback import Hub, Repo

    from addsr_cli.weights import remote

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(remote, "RETRY_DELAY", 0.01)
    close_session()
    running = Hub()
    running.repos = {f"org/{name}": Repo(dict(FILES)) for name in ("first", "second", "third")}
    yield running
    close_session()
    running.stop()


@pytest.fixture
def fetch(server):
    """Fetch a component from the local Hub."""
    from addsr_cli.weights import sources

    return lambda component, **more: sources.fetch(
        component, offline=False, endpoint=server.endpoint, **more
    )


@pytest.fixture
def hub(server, monkeypatch):
    """A local Hub with a tiny version of every component, which the program downloads from."""
    from tiny_hub import fill

    return fill(server, monkeypatch)


@pytest.fixture(scope="session")
def perceptual_state():
    """Random weights of LPIPS and DISTS in the published sizes."""
    from perceptual_samples import random_state

    return random_state()


@pytest.fixture
def perceptual_weights(home, perceptual_state):
    """The same, installed where the program reads them."""
    from safetensors.torch import save_file

    from addsr_cli.perceptual import weights_file

    weights_file().parent.mkdir(parents=True, exist_ok=True)
    save_file(perceptual_state, weights_file())
    return perceptual_state


@pytest.fixture
def small_vgg(home, monkeypatch):
    """Random weights of LPIPS on a VGG16 of eight channels, installed."""
    import torch
    from safetensors.torch import save_file

    from addsr_cli import perceptual

    monkeypatch.setattr(perceptual, "VGG", tuple((8,) * len(widths) for widths in perceptual.VGG))
    monkeypatch.setitem(perceptual.STAGES, "vgg", (8,) * len(perceptual.VGG))
    torch.manual_seed(0)
    network = perceptual.LPIPS("vgg")
    for conv in network.backbone.convs:
        torch.nn.init.kaiming_normal_(conv.weight)  # features neither vanish nor grow
        torch.nn.init.zeros_(conv.bias)
    for head in network.heads:
        torch.nn.init.uniform_(head)
    perceptual.weights_file().parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {f"vgg.{key}": value for key, value in network.state_dict().items()},
        perceptual.weights_file(),
    )
