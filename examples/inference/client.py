"""Print a request body for serve.py: scan number N of scikit-learn's digits."""

import json
import sys

from sklearn.datasets import load_digits

digits = load_digits()
n = int(sys.argv[1]) if len(sys.argv) > 1 else 0
print(json.dumps({"images": [digits.data[n].tolist()], "expect": int(digits.target[n])}))
