"""Have serve.py name an image of the test set: client.py [URL [N]]

Asks which model is served, takes image number N of that model's data set (Debian's
python3-sklearn for the digits, dataset-fashion-mnist for the clothes), sends it, and
prints what it was taken for.
"""

import gzip
import json
import sys
import urllib.request

FASHION = "/usr/share/datasets/fashion-mnist/t10k-images-idx3-ubyte.gz"


def image(model, n):
    if model == "digits":
        from sklearn.datasets import load_digits

        return load_digits().data[n].tolist()
    with gzip.open(FASHION) as f:
        f.seek(16 + 784 * n)
        return list(f.read(784))


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    with urllib.request.urlopen(url + "/health") as answer:
        model = json.load(answer)["model"]
    body = json.dumps({"images": [image(model, n)]}).encode()
    with urllib.request.urlopen(url + "/predict", body) as answer:
        got = json.load(answer)
    print(f"{model}, image {n}: {got['labels'][0]} ({got['chances'][0]:.0%})")


main()
