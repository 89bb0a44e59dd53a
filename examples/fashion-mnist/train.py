"""Learn Fashion-MNIST (60,000 real photographs of clothes) with PyTorch.

Uses the GPU where PyTorch sees one, else the CPU. The data set is Debian's package
dataset-fashion-mnist, or any folder with its four files (--data, or FASHION_MNIST).
A checkpoint is written after every epoch; started again beside one, it goes on.

    gpurun train.py --gpu 4090 -- --epochs 5
    gpurun resume @last -- python3 train.py --epochs 10        # on any host
"""

import argparse
import gzip
import os
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

CHECKPOINT = "fashion.pt"
PLACES = ("/usr/share/datasets/fashion-mnist",)


def find_data(given):
    for place in filter(None, (given, os.environ.get("FASHION_MNIST"), *PLACES)):
        if os.path.exists(os.path.join(place, "train-images-idx3-ubyte.gz")):
            return place
    raise SystemExit("Fashion-MNIST is not here: install dataset-fashion-mnist or give --data DIR")


def read_idx(path, header):
    with gzip.open(path) as f:
        return np.frombuffer(f.read(), np.uint8, offset=header)


def load(place, part):
    images = read_idx(os.path.join(place, f"{part}-images-idx3-ubyte.gz"), 16).reshape(-1, 1, 28, 28)
    labels = read_idx(os.path.join(place, f"{part}-labels-idx1-ubyte.gz"), 8)
    return torch.from_numpy(images.astype(np.float32) / 255.0), torch.from_numpy(labels.astype(np.int64))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )
        self.classes = nn.Sequential(nn.Linear(32 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10))

    def forward(self, x):
        return self.classes(self.features(x).flatten(1))


def save(state):
    torch.save(state, CHECKPOINT + ".tmp")
    os.replace(CHECKPOINT + ".tmp", CHECKPOINT)


def accuracy(model, images, labels, device):
    model.eval()
    right = 0
    with torch.no_grad():
        for at in range(0, len(images), 1000):
            guess = model(images[at:at + 1000].to(device)).argmax(1).cpu()
            right += int((guess == labels[at:at + 1000]).sum())
    return right / len(images)


def train_epoch(model, optimiser, images, labels, device):
    model.train()
    order = torch.randperm(len(images))
    total = 0.0
    for at in range(0, len(order), 128):
        pick = order[at:at + 128]
        loss = functional.cross_entropy(model(images[pick].to(device)), labels[pick].to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += float(loss) * len(pick)
    return total / len(images)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--data")
    parser.add_argument("--images", type=int, default=60000, help="how many of the training images")
    args = parser.parse_args()

    torch.manual_seed(7)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    place = find_data(args.data)
    images, labels = (t[:args.images] for t in load(place, "train"))
    test_images, test_labels = load(place, "t10k")
    model = Net().to(device)
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    done = 0
    if os.path.exists(CHECKPOINT):
        state = torch.load(CHECKPOINT, map_location=device)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        done = state["epoch"]
        print(f"going on after epoch {done}", flush=True)
    print(f"{len(images)} images on {device}", flush=True)
    for epoch in range(done + 1, args.epochs + 1):
        began = time.monotonic()
        loss = train_epoch(model, optimiser, images, labels, device)
        right = accuracy(model, test_images, test_labels, device)
        save({"model": model.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch})
        print(f"epoch {epoch}  loss {loss:.4f}  test accuracy {right:.4f}  {time.monotonic() - began:.1f} s", flush=True)
    print(f"test accuracy {accuracy(model, test_images, test_labels, device):.4f}", flush=True)


if __name__ == "__main__":
    main()
