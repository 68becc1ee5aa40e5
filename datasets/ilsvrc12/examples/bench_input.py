"""The reference of bench_input.rs: torchvision's DataLoader over folders, PIL decoding, one process for each worker.
Prints images/s, without the start of the workers."""
import sys
import time

import torch
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import ImageFolder

root, (workers, passes, size), split = sys.argv[1], map(int, sys.argv[2:5]), sys.argv[5]
torch.set_num_threads(1)
if split == "train":
    steps = [transforms.RandomResizedCrop(size), transforms.RandomHorizontalFlip()]
else:
    steps = [transforms.Resize(round(size * 256 / 224)), transforms.CenterCrop(size)]
normalize = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
images = ImageFolder(root, transforms.Compose([*steps, transforms.ToTensor(), normalize]))
loader = DataLoader(images, batch_size=50, shuffle=True, num_workers=workers, persistent_workers=True)
for _ in loader:
    pass
start, count = time.perf_counter(), 0
for _ in range(passes):
    for batch, _ in loader:
        count += len(batch)
print(count / (time.perf_counter() - start))
