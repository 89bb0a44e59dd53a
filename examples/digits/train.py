"""Learn to read handwritten digits, in seconds, on any machine with scikit-learn.

The 1,797 real 8x8 scans that come with scikit-learn; a quarter is kept aside for
the test. A checkpoint is written after every epoch: started again in a directory
that holds one, the training goes on where it stopped.

    gpurun train.py                    # 20 epochs
    gpurun resume @last -- python3 train.py --epochs 30
"""

import argparse
import os
import pickle
import time

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

CHECKPOINT = "digits.ckpt"


def shifted(images, labels):
    """Each image as it is and moved by one pixel in the four directions."""
    square = images.reshape(-1, 8, 8)
    moved = [square]
    for axis in (1, 2):
        for by in (-1, 1):
            moved.append(np.roll(square, by, axis=axis))
    return np.concatenate(moved).reshape(-1, 64), np.tile(labels, len(moved))


def load():
    digits = load_digits()
    parts = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.25, random_state=7, stratify=digits.target
    )
    train_x, test_x, train_y, test_y = parts
    train_x, train_y = shifted(train_x, train_y)
    return train_x, train_y, test_x, test_y


def restore():
    if not os.path.exists(CHECKPOINT):
        return MLPClassifier((192, 96), learning_rate_init=2e-3, batch_size=32, random_state=7), 0
    with open(CHECKPOINT, "rb") as f:
        state = pickle.load(f)
    print(f"going on after epoch {state['epoch']}", flush=True)
    return state["model"], state["epoch"]


def save(model, epoch):
    """All of the new checkpoint or all of the old, whenever the machine goes away."""
    with open(CHECKPOINT + ".tmp", "wb") as f:
        pickle.dump({"model": model, "epoch": epoch}, f)
        f.flush()
        os.fsync(f.fileno())
    os.replace(CHECKPOINT + ".tmp", CHECKPOINT)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=20)
    args = parser.parse_args()

    train_x, train_y, test_x, test_y = load()
    model, done = restore()
    print(f"{len(train_x)} images to learn from, {len(test_x)} to be tested on", flush=True)
    for epoch in range(done + 1, args.epochs + 1):
        began = time.monotonic()
        model.partial_fit(train_x, train_y, classes=np.arange(10))
        accuracy = model.score(test_x, test_y)
        save(model, epoch)
        took = time.monotonic() - began
        print(f"epoch {epoch:3d}  loss {model.loss_:.4f}  test accuracy {accuracy:.4f}  {took:.2f} s", flush=True)
    print(f"test accuracy {model.score(test_x, test_y):.4f}", flush=True)


if __name__ == "__main__":
    main()
