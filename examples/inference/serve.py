"""Serve predictions over HTTP, of the model that another example has trained.

Start it from the snapshot of such a run, so that what it has learnt is there, and reach
it through gpurun; nothing listens on a public address:

    gpurun run --from @last --port 8000 serve.py
    python3 client.py http://127.0.0.1:8000 3

fashion.pt (examples/fashion-mnist) is served with PyTorch, digits.ckpt (examples/digits)
with scikit-learn. It is looked for here and in those folders beside this one. POST /predict takes {"images": [[numbers], ...]}, one list of pixels an
image, as the data set has them (28x28 of 0..255, or 8x8 of 0..16); GET /health says
which model it is and of which epoch.
"""

import argparse
import json
import os
import pickle
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

BODY_MAX = 8 << 20
CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


class Digits:
    """What examples/digits/train.py saves."""

    name, places, pixels = "digits", ("digits.ckpt", "../digits/digits.ckpt"), 64
    labels = tuple("0123456789")

    def __init__(self, path):
        with open(path, "rb") as f:
            state = pickle.load(f)
        self.model, self.epoch = state["model"], state["epoch"]

    def chances(self, images):
        return self.model.predict_proba(images / 16.0)


class Fashion:
    """What examples/fashion-mnist/train.py saves; on the GPU where PyTorch sees one."""

    name, places, pixels = "fashion-mnist", ("fashion.pt", "../fashion-mnist/fashion.pt"), 784
    labels = CLOTHES

    def __init__(self, path):
        import torch

        sys.path.insert(0, os.path.dirname(path))
        from train import Net  # came with the checkpoint

        self.torch = torch
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        state = torch.load(path, map_location=self.device)
        self.model, self.epoch = Net().to(self.device).eval(), state["epoch"]
        self.model.load_state_dict(state["model"])

    def chances(self, images):
        with self.torch.no_grad():
            x = self.torch.from_numpy((images / 255.0).astype(np.float32)).reshape(-1, 1, 28, 28)
            return self.model(x.to(self.device)).softmax(1).cpu().numpy()


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        model = self.server.model
        if self.path != "/health":
            return self.answer(404, {"error": "GET /health or POST /predict"})
        return self.answer(200, {"model": model.name, "epoch": model.epoch, "pixels": model.pixels})

    def do_POST(self):
        model = self.server.model
        try:
            length = int(self.headers.get("Content-Length", 0))
        except ValueError:
            length = 0
        if self.path != "/predict" or not 0 < length <= BODY_MAX:
            return self.answer(400, {"error": f"POST /predict with at most {BODY_MAX >> 20} MiB"})
        try:
            images = np.array(json.loads(self.rfile.read(length))["images"], float).reshape(-1, model.pixels)
        except (ValueError, KeyError, TypeError) as e:
            return self.answer(400, {"error": f"not a list of images of {model.pixels} pixels: {e}"})
        best = [(int(c.argmax()), float(c.max())) for c in model.chances(images)]
        return self.answer(200, {"labels": [model.labels[i] for i, _ in best], "chances": [round(c, 4) for _, c in best]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, default=8000, help="port on 127.0.0.1")
    args = parser.parse_args()

    found = [(kind, p) for kind in (Fashion, Digits) for p in kind.places if os.path.exists(p)]
    if not found:
        sys.exit("no checkpoint here: start it with --from SNAPSHOT of examples/fashion-mnist or examples/digits")
    server = ThreadingHTTPServer(("127.0.0.1", args.listen), Handler)
    kind, path = found[0]
    server.model = kind(os.path.abspath(path))
    print(f"{server.model.name}, epoch {server.model.epoch}: ready on port {args.listen}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
