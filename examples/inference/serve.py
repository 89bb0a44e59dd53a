"""Serve predictions of the model that examples/digits trained, over HTTP.

Start it from the snapshot of a training run, so that the checkpoint lies in its
directory, and reach it through gpurun; nothing listens on a public address:

    gpurun run --from @last --port 8000 serve.py
    curl -s -d "$(python3 client.py 3)" http://127.0.0.1:8000/predict

POST /predict takes {"images": [[64 numbers 0..16], …]}; GET /health says the epoch.
"""

import argparse
import json
import pickle
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

BODY_MAX = 1 << 20


class Handler(BaseHTTPRequestHandler):
    def answer(self, status, body):
        data = json.dumps(body).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path != "/health":
            return self.answer(404, {"error": "GET /health or POST /predict"})
        return self.answer(200, {"epoch": self.server.epoch})

    def do_POST(self):
        length = int(self.headers.get("Content-Length", 0))
        if self.path != "/predict" or not 0 < length <= BODY_MAX:
            return self.answer(400, {"error": "POST /predict with at most 1 MiB"})
        try:
            images = np.array(json.loads(self.rfile.read(length))["images"], float).reshape(-1, 64)
        except (ValueError, KeyError, TypeError) as e:
            return self.answer(400, {"error": f"not a list of images: {e}"})
        chances = self.server.model.predict_proba(images / 16.0)
        digits = [int(c.argmax()) for c in chances]
        return self.answer(200, {"digits": digits, "chance": [round(float(c.max()), 4) for c in chances]})


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", type=int, default=8000)
    parser.add_argument("--checkpoint", default="digits.ckpt")
    args = parser.parse_args()

    with open(args.checkpoint, "rb") as f:
        state = pickle.load(f)
    server = ThreadingHTTPServer(("127.0.0.1", args.listen), Handler)
    server.model = state["model"]
    server.epoch = state["epoch"]
    print(f"model of epoch {server.epoch} ready on port {args.listen}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
