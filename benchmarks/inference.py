"""How much faster and smaller is the student than its teacher where it is used?

    python benchmarks/inference.py [--layers 12] [--width 768] [--heads 12] [--texts 300] [--rounds 3] [--json]
    python benchmarks/inference.py --teacher DIR --student DIR        # of a finished run: report.json names the folders

As the paper measured it (section 3): on a CPU, in fp32, a text at a time, one pass over STS-B's dev set, of which the
texts have the lengths here; random token ids, as no time depends on which they are. Teacher and student take turns in
one process, text by text, so that a machine whose speed drifts slows both alike; a pass takes the sum of each text's
median over the rounds, after one that is not counted. The same for the throughput, of batches of `--batch` texts of
similar length, padded to the longest. `speedup_batch1`, `speedup_throughput` and `size_ratio` (student's parameters
/ teacher's) are of the encoder under a classification head, as for a task; `masked_lm` holds the same under the head
over the vocabulary. Without folders both have random weights: a BERT, and the DistilBERT of every second block of its.
Needs torch and transformers and no Ray. The last line is one object; without `--json` a table stands above it.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, BertConfig, BertForMaskedLM
from transformers.utils import logging

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from stages.distillation.families.table import family_of
from stages.distillation.models.layers import choose_layers
from stages.distillation.models.student import take_blocks

STSB = (11, 16, 17, 18, 19, 20, 21, 22, 23, 25, 28, 30, 33, 35, 38, 41, 43, 46, 51, 60, 87)
"""Tokens of STS-B's 1,500 dev pairs in BERT's uncased vocabulary, special tokens included: the 0th, 5th, … 100th
percentile; 31.5 on average."""
LOAD = os.getloadavg()[0]
"""Processes that wanted a CPU in the minute before: a machine with other work gives other figures."""
HEADS = {"classification": AutoModelForSequenceClassification, "masked_lm": AutoModelForMaskedLM}
MODELS = ("teacher", "student")
Model = Any
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is passed through the models, and how often."""

    texts: int
    rounds: int
    batch: int


def lengths(texts: int) -> list[int]:
    """So many lengths as STS-B's dev set has them, in an order that has nothing to do with length."""
    places = (np.arange(texts) + 0.5) / texts
    found = np.interp(places, np.linspace(0, 1, len(STSB)), STSB).round().astype(int)
    return np.random.default_rng(0).permutation(found).tolist()


def batch_of(sizes: list[int], vocabulary: int) -> Batch:
    """Texts of random tokens, padded to the longest, as a tokenizer hands them over."""
    ids = torch.randint(5, vocabulary, (len(sizes), max(sizes)), generator=torch.Generator().manual_seed(sum(sizes)))
    mask = (torch.arange(max(sizes)) < torch.tensor(sizes).unsqueeze(1)).long()
    return {"input_ids": ids * mask, "attention_mask": mask}


def random_configs(layers: int, width: int, heads: int, vocabulary: int) -> tuple[Any, Any]:
    """A BERT's config, and that of the student that this pipeline makes of every second block."""
    config = BertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=heads,
        intermediate_size=4 * width,
        vocab_size=vocabulary,
    )
    student = take_blocks(BertForMaskedLM(config), choose_layers("alternate", layers), dropout=0.0)
    return config, student.config


def models_of(head: str, asked: argparse.Namespace) -> dict[str, Model]:
    """Teacher and student under a head, in fp32 and eval mode."""
    kind = HEADS[head]
    if asked.teacher:
        folders = zip(MODELS, (asked.teacher, asked.student), strict=True)
        found = {n: kind.from_pretrained(f, dtype=torch.float32, local_files_only=True) for n, f in folders}
    else:
        torch.manual_seed(0)
        configs = random_configs(asked.layers, asked.width, asked.heads, asked.vocabulary)
        found = {name: kind.from_config(config) for name, config in zip(MODELS, configs, strict=True)}
    return {name: model.eval() for name, model in found.items()}


@torch.inference_mode()
def a_pass(models: dict[str, Model], batches: list[Batch], rounds: int) -> dict[str, float]:
    """Seconds of a pass over the batches, by model; who goes first changes from batch to batch."""
    seconds = {name: np.zeros((rounds + 1, len(batches))) for name in models}
    for turn in range(rounds + 1):
        for number, batch in enumerate(batches):
            for name in reversed(models) if (turn + number) % 2 else models:
                started = time.perf_counter()
                models[name](**batch)
                seconds[name][turn, number] = time.perf_counter() - started
    return {name: float(np.median(taken[1:], axis=0).sum()) for name, taken in seconds.items()}


def size(model: Model) -> tuple[int, int]:
    """(parameters, their bytes), tied ones counted once."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters), sum(p.numel() * p.element_size() for p in parameters)


def measure(head: str, asked: argparse.Namespace, plan: Plan) -> dict[str, Any]:
    """Speed and size of both models under a head."""
    models = models_of(head, asked)
    vocabulary = min(model.config.vocab_size for model in models.values())
    most = min(family_of(model.config).positions(model.config) for model in models.values())
    sizes = [min(length, most) for length in lengths(plan.texts)]
    ordered = sorted(sizes)
    alike = [ordered[start : start + plan.batch] for start in range(0, plan.texts, plan.batch)]
    alone, together = (
        a_pass(models, [batch_of(part, vocabulary) for part in parts], plan.rounds)
        for parts in ([[length] for length in sizes], alike)
    )
    found: dict[str, Any] = {}
    for name, model in models.items():
        parameters, taken = size(model)
        found[name] = {
            "parameters": parameters,
            "bytes": taken,
            "seconds_a_pass": round(alone[name], 3),
            "ms_a_text": round(1000 * alone[name] / plan.texts, 3),
            "texts_per_second": round(plan.texts / together[name], 2),
        }
    return found | {
        "speedup_batch1": alone["teacher"] / alone["student"],
        "speedup_throughput": together["teacher"] / together["student"],
        "size_ratio": found["student"]["parameters"] / found["teacher"]["parameters"],
    }


def table(name: str, found: dict[str, Any]) -> str:
    """A measurement as a person reads it."""
    shown: dict[str, Callable[[Any], str]] = {
        "parameters": lambda n: f"{n / 1e6:.1f} M",
        "bytes": lambda n: f"{n / 1e6:.1f} MB",
        "ms_a_text": lambda ms: f"{ms:.1f} ms",
        "texts_per_second": lambda rate: f"{rate:.1f}/s",
    }
    lines = [f"{name}:{'':22} {'teacher':>10} {'student':>10}"]
    lines += [
        f"  {key:34} {form(found['teacher'][key]):>10} {form(found['student'][key]):>10}" for key, form in shown.items()
    ]
    ratios = ("speedup_batch1", "speedup_throughput", "size_ratio")
    return "\n".join(lines + [f"  {key:45} {found[key]:>10.3f}" for key in ratios])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("layers", 12), ("width", 768), ("heads", 12), ("vocabulary", 30_522)):
        parser.add_argument(f"--{name}", type=int, default=default, help="of a random BERT")
    parser.add_argument("--teacher", help="a folder with a masked language model, and so for --student")
    parser.add_argument("--student")
    parser.add_argument("--texts", type=int, default=300, help="of a pass")
    parser.add_argument("--rounds", type=int, default=3, help="passes that are counted")
    parser.add_argument("--batch", type=int, default=32, help="texts, for the throughput")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true", help="no table")
    asked = parser.parse_args()
    if bool(asked.teacher) != bool(asked.student):
        parser.error("--teacher and --student go together")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(asked.threads)
    plan = Plan(texts=asked.texts, rounds=asked.rounds, batch=asked.batch)
    under = {head: measure(head, asked, plan) for head in HEADS}
    if not asked.json:
        print("\n".join(table(head, found) for head, found in under.items()))
    first = under["classification"]
    ratios = {key: first[key] for key in ("speedup_batch1", "speedup_throughput", "size_ratio")}
    about = {"threads": torch.get_num_threads(), "load_before": LOAD, "texts": plan.texts, "rounds": plan.rounds}
    print(
        json.dumps(ratios | about | {"batch": plan.batch, "mean_tokens": float(np.mean(lengths(plan.texts)))} | under)
    )


if __name__ == "__main__":
    main()
