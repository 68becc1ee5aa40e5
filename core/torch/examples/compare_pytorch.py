"""Compares the logits of imported weights with PyTorch's, on the same pixels.

    cargo build --release --workspace && cargo build --release -p pocketflow-torch --example logits
    python3 core/torch/examples/compare_pytorch.py torchvision
    python3 core/torch/examples/compare_pytorch.py mobilenet mobilenet_v1_0.25_128.safetensors PHOTOGRAPHS
    python3 core/torch/examples/compare_pytorch.py pins          # the figures of tests/published.rs

`torchvision`: ResNet-18, ResNet-50 and MobileNet-v2 with weights by a formula, through a .pth file. `mobilenet`: MobileNet-v1 with
TensorFlow's padding on 16 photographs. Needs torch, torchvision, numpy, pillow; the program is looked for in $CARGO_TARGET_DIR."""
import json
import os
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

BUILT = Path(os.environ.get("CARGO_TARGET_DIR", "target")) / "release"
# Of the resnet preprocessing: those of ilsvrc12 for torchvision's networks.
MEAN, STD = [123.68, 116.78, 103.94], [58.393, 57.12, 57.375]
BOUND = 1e-4
# The factor of the batch normalisations is such that the logits depend on the image and do not run away.
NETS = {
    "resnet18": ("--net=resnet_at_ilsvrc12", 0.7),
    "resnet50": ("--net=resnet_at_ilsvrc12", 0.7),
    "mobilenet_v2": ("--net=mobilenet_at_ilsvrc12", 1.0),
}


def uniform(name, count):
    """Numbers in [-0.5, 0.5) by a formula in integers, which every language computes alike."""
    seed = 0
    for byte in name.encode():
        seed = (seed * 31 + byte) % 2**32
    numbers = (np.arange(count, dtype=np.uint64) * 2654435761 + seed) % 2**32
    numbers = (numbers ^ (numbers >> np.uint64(15))) * np.uint64(2246822519) % np.uint64(2**32)
    numbers ^= numbers >> np.uint64(13)
    return numbers.astype(np.float64) / 2**32 - 0.5


def fill(state, factor):
    for name, tensor in state.items():
        if name.endswith("num_batches_tracked"):
            continue
        u = uniform(name, tensor.numel())
        if tensor.dim() > 1:
            values = u * 2 * np.sqrt(6 / np.prod(tensor.shape[1:]))
        elif name.endswith("weight"):
            values = factor + 0.2 * u
        elif name.endswith("running_var"):
            values = 1 + 0.2 * u
        else:
            values = 0.2 * u
        tensor.copy_(torch.from_numpy(values.astype(np.float32)).view(tensor.shape))


def made(name):
    import torchvision

    net = getattr(torchvision.models, name)(weights=None)
    with torch.no_grad():
        fill(net.state_dict(), NETS[name][1])
    return net.eval()


def pixels_of(count, size):
    return ((uniform("pixels", count * size * size * 3) + 0.5) * 256).astype(np.uint8).reshape(count, size, size, 3)


def normalised(pixels, mean, std):
    images = (pixels.astype(np.float32) - np.float32(mean)) / np.float32(std)
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def ours(folder, weights, flags, pixels):
    model, file = folder / "model.ckpt", folder / "pixels"
    # Without images: the data set says what it would be.
    command = [BUILT / "host", "import", weights, *flags, f"--save_path={model}", f"--data_dir={folder}/none"]
    subprocess.run([*command, "--format=json"], check=True, stdout=subprocess.DEVNULL)
    file.write_bytes(pixels.tobytes())
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    out = subprocess.run([BUILT / "examples/logits", model, file], check=True, capture_output=True, env=environment)
    return np.frombuffer(out.stdout, "<f4").reshape(len(pixels), -1)


def report(name, theirs, found, bound):
    apart = float(np.abs(theirs - found).max())
    print(f"{name:<28} largest logit {np.abs(theirs).max():9.4f}   furthest apart {apart:.2e}   bound {bound:.0e}")
    return apart <= bound


def torchvision_nets(folder):
    good = True
    for name, (flag, _) in NETS.items():
        net = made(name)
        torch.save({"module." + key: value for key, value in net.state_dict().items()}, folder / f"{name}.pth")
        pixels = pixels_of(4, 224)
        with torch.no_grad():
            theirs = net(normalised(pixels, MEAN, STD)).numpy()
        # Class 0 is the background, which torchvision does not know.
        found = ours(folder, folder / f"{name}.pth", [flag], pixels)[:, 1:]
        good &= report(name, theirs, found, BOUND)
    return good


def read_safetensors(path):
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = entry["data_offsets"]
            numbers = np.frombuffer(data[8 + length + start : 8 + length + end], "<f4").copy()
            tensors[name] = torch.from_numpy(numbers).view(entry["shape"])
    return tensors


def mobilenet_v1(tensors, x):
    def layer(x, conv, stride):
        weight = tensors[conv + ".weight"]
        kernel = weight.shape[2]
        total = max((-(-x.shape[2] // stride) - 1) * stride + kernel - x.shape[2], 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        groups = x.shape[1] if weight.shape[1] == 1 and x.shape[1] > 1 else 1
        norm = [tensors[f"{conv}_bn.{part}"] for part in ["running_mean", "running_var", "weight", "bias"]]
        return F.relu6(F.batch_norm(F.conv2d(x, weight, None, stride, 0, 1, groups), *norm, False, 0.0, 1e-3))

    x = layer(x, "conv0", 2)
    for block in range(13):
        x = layer(x, f"blocks.{block}.depthwise", 2 if block in (1, 3, 5, 11) else 1)
        x = layer(x, f"blocks.{block}.pointwise", 1)
    return F.linear(x.mean((2, 3)), tensors["fc.weight"], tensors["fc.bias"])


def mobilenet(folder, weights, photographs):
    from PIL import Image

    pixels = []
    for path in sorted(Path(photographs).rglob("*.JPEG"))[:16]:
        image = Image.open(path).convert("RGB")
        width, height = (round(0.875 * size) for size in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        image = image.crop((left, top, left + width, top + height)).resize((128, 128), Image.BILINEAR)
        pixels.append(np.asarray(image))
    pixels = np.stack(pixels)
    with torch.no_grad():
        theirs = mobilenet_v1(read_safetensors(weights), normalised(pixels, [127.5] * 3, [127.5] * 3)).numpy()
    flags = ["--net=mobilenet_at_ilsvrc12", "--image_size=128"]
    return report(f"{len(pixels)} photographs", theirs, ours(folder, weights, flags, pixels), 1e-3)


def pins():
    for name in NETS:
        with torch.no_grad():
            logits = made(name)(normalised(pixels_of(1, 64), MEAN, STD)).numpy()[0]
        print(name, [round(float(logit), 6) for logit in logits[::100]])
    return True


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    match sys.argv[1:]:
        case ["torchvision"]:
            good = torchvision_nets(folder)
        case ["mobilenet", weights, photographs]:
            good = mobilenet(folder, weights, photographs)
        case ["pins"]:
            good = pins()
        case _:
            sys.exit(__doc__)
sys.exit(not good)
