"""The reference of bench_step.rs: a training step in eager PyTorch, channels_last, of ResNet-20 (option A) or torchvision's ResNet-18.
For each line on stdin takes that many steps and prints their times in ms, so that the bench can take turns with it."""
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.pad = stride, (width - channels) // 2

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        if self.stride > 1 or self.pad:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x, inplace=True)


def resnet20():
    layers, channels = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True)], 16
    for stage, width in enumerate([16, 32, 64]):
        for index in range(3):
            layers.append(Block(channels, width, 2 if stage and not index else 1))
            channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


def resnet18():
    from torchvision.models import resnet18

    return resnet18()


net, size, classes = {"resnet20": (resnet20, 32, 10), "resnet18": (resnet18, 224, 1000)}[sys.argv[1]]
batch, threads = map(int, sys.argv[2:])
torch.set_num_threads(threads)
net = net().to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
images = torch.randn(batch, 3, size, size).to(memory_format=torch.channels_last)
labels = torch.randint(classes, (batch,))


def milliseconds():
    start = time.perf_counter()
    optimizer.zero_grad(set_to_none=True)
    F.cross_entropy(net(images), labels).backward()
    optimizer.step()
    return 1e3 * (time.perf_counter() - start)


for line in sys.stdin:
    print(*(milliseconds() for _ in range(int(line))), flush=True)
