"""The same int8 network by onnxruntime: reads texts as a JSON list from the first argument's file, embeds them in batches
of 16 each time a line comes in, and says how long that took and what CPU time; at "vectors" it gives the vectors."""

import json
import resource
import sys
import time

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

texts, network, tokenizer = json.load(open(sys.argv[1])), sys.argv[2], Tokenizer.from_file(sys.argv[3])
tokenizer.enable_truncation(256)
tokenizer.enable_padding()
session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])


def embed(batch):
    encoded = tokenizer.encode_batch(batch)
    ids = np.array([text.ids for text in encoded], dtype=np.int64)
    mask = np.array([text.attention_mask for text in encoded], dtype=np.int64)
    inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    hidden = session.run(["last_hidden_state"], inputs)[0]
    mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1)[:, None]
    return mean / np.linalg.norm(mean, axis=1, keepdims=True)


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def embed_all():
    return np.concatenate([embed(texts[at : at + 16]) for at in range(0, len(texts), 16)])


embed(texts[:16])
print(json.dumps({"version": onnxruntime.__version__}), flush=True)
for line in sys.stdin:
    began, used = time.monotonic(), cpu()
    vectors = embed_all()
    told = {"seconds": time.monotonic() - began, "cpu_seconds": cpu() - used}
    if line.strip() == "vectors":
        told["vectors"] = vectors.tolist()
        told["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(told), flush=True)
