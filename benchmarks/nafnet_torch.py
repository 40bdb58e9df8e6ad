"""NAFNet in PyTorch beside ours: seconds and peak memory of one image.

    python -m venv torch && torch/bin/pip install torch numpy
    python -m benchmarks.nafnet_torch --torch torch/bin/python

Random weights, as time does not depend on them; each figure is a median of rounds in a process of its own. PyTorch's
network is put together here from the paper (Chen et al., ECCV 2022), and its local means from Chu et al., "Improving
Image Restoration by Revisiting Global Information Aggregation", ECCV 2022.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.peak import peak_bytes

ROOT = Path(__file__).parents[1]
SIZES = ((256, 256), (1280, 720))
BLOCKS = 28
"""On the fourth level; the others have one each."""
WINDOW = 384


def nafnet(width: int, attention: str):
    """The network on NCHW images."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Norm(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.weight, self.bias = nn.Parameter(torch.ones(c, 1, 1)), nn.Parameter(torch.zeros(c, 1, 1))

        def forward(self, x):
            mean = x.mean(1, keepdim=True)
            variance = (x - mean).pow(2).mean(1, keepdim=True)
            return self.weight * (x - mean) / (variance + 1e-6).sqrt() + self.bias

    class Means(nn.Module):
        def __init__(self, window: int) -> None:
            super().__init__()
            self.window = window

        def forward(self, x):
            height, across = x.shape[-2:]
            if attention == "global" or self.window >= max(height, across):
                return x.mean((2, 3), keepdim=True)
            h, w = min(self.window, height), min(self.window, across)
            sums = F.pad(x.cumsum(-1).cumsum(-2), (1, 0, 1, 0))
            means = (sums[..., h:, w:] + sums[..., :-h, :-w] - sums[..., h:, :-w] - sums[..., :-h, w:]) / (h * w)
            top, left = (height - means.shape[-2]) // 2, (across - means.shape[-1]) // 2
            bottom, right = height - means.shape[-2] - top, across - means.shape[-1] - left
            return F.pad(means, (left, right, top, bottom), mode="replicate")

    def gate(x):
        one, other = x.chunk(2, dim=1)
        return one * other

    class Block(nn.Module):
        def __init__(self, c: int, window: int) -> None:
            super().__init__()
            self.norm1, self.norm2, self.means = Norm(c), Norm(c), Means(window)
            self.conv1, self.conv2, self.attention = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1), nn.Conv2d(c, c, 1)
            self.depthwise = nn.Conv2d(2 * c, 2 * c, 3, padding=1, groups=2 * c)
            self.conv3, self.conv4 = nn.Conv2d(c, 2 * c, 1), nn.Conv2d(c, c, 1)
            self.scale1, self.scale2 = nn.Parameter(torch.ones(c, 1, 1)), nn.Parameter(torch.ones(c, 1, 1))

        def forward(self, x):
            y = gate(self.depthwise(self.conv1(self.norm1(x))))
            x = x + self.scale1 * self.conv2(y * self.attention(self.means(y)))
            return x + self.scale2 * self.conv4(gate(self.conv3(self.norm2(x))))

    blocks = (1, 1, 1, BLOCKS, 1, 1, 1, 1, 1)

    def stage(c: int, level: int, count: int):
        return nn.Sequential(*(Block(c, WINDOW >> level) for _ in range(count)))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            c = [width << level for level in range(5)]
            self.stem, self.head = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)
            self.encoders = nn.ModuleList(stage(c[i], i, blocks[i]) for i in range(4))
            self.downs = nn.ModuleList(nn.Conv2d(c[i], c[i + 1], 2, 2) for i in range(4))
            self.middle = stage(c[4], 4, blocks[4])
            self.ups = nn.ModuleList(
                nn.Sequential(nn.Conv2d(c[i + 1], 4 * c[i], 1, bias=False), nn.PixelShuffle(2)) for i in range(4)
            )
            self.decoders = nn.ModuleList(stage(c[i], i, blocks[8 - i]) for i in range(4))

        def forward(self, image):
            height, across = image.shape[-2:]
            image = F.pad(image, (0, -across % 16, 0, -height % 16))
            x, skips = self.stem(image), []
            for encoder, down in zip(self.encoders, self.downs, strict=True):
                skips.append(encoder(x))
                x = down(skips[-1])
            x = self.middle(x)
            for i in (3, 2, 1, 0):
                x = self.decoders[i](self.ups[i](x) + skips[i])
            return (image + self.head(x))[..., :height, :across]

    return Network().eval()


def in_torch(width: int, attention: str, across: int, height: int, rounds: int) -> dict[str, float]:
    """Measure PyTorch."""
    import torch

    torch.manual_seed(0)
    network = nafnet(width, attention)
    parameters = sum(weight.numel() for weight in network.parameters())
    image, taken = torch.rand(1, 3, height, across), []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            begun = time.perf_counter()
            network(image)
            taken.append(time.perf_counter() - begun)
    peak = peak_bytes() / 1e9
    return {"seconds": statistics.median(taken[1:]), "parameters": parameters, "peak": peak}


def command_of(way: str, attention: str, across: int, height: int, options: argparse.Namespace) -> list[str]:
    """What measures a way: this module in PyTorch's environment, or `benchmarks.deblur`."""
    rounds, filters = ["--rounds", str(options.rounds)], ["--filters", str(options.filters)]
    size = [str(across), str(height)]
    if way == "torch":
        command = [str(options.torch), "-m", "benchmarks.nafnet_torch", *rounds, *filters, "--worker", attention]
        return [*command, *size]
    command = [sys.executable, "-m", "benchmarks.deblur", "--generator", "nafnet", "--norm", "layer", *rounds, *filters]
    return [*command, "--blocks", str(BLOCKS), "--attention", attention, "--worker", way, *size]


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch", type=Path, default=sys.executable, help="a Python that has PyTorch")
    parser.add_argument("--filters", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        attention, across, height = options.worker
        print(json.dumps(in_torch(options.filters, attention, int(across), int(height), options.rounds)))
        return
    print("| pixels | attention | way | parameters | seconds | times PyTorch | peak memory |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for across, height in SIZES:
        for attention in ("local", "global"):
            theirs = 0.0
            for way in ("torch", "whole", "auto"):
                if way == "auto" and attention == "global":
                    continue  # never in tiles
                command = command_of(way, attention, across, height, options)
                done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                found = json.loads(done.stdout.splitlines()[-1])
                theirs = theirs or found["seconds"]
                print(
                    f"| {across}x{height} | {attention} | {way} | {found['parameters']:,} | {found['seconds']:.2f} "
                    f"| {found['seconds'] / theirs:.2f} | {found['peak']:.1f} GB |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
