"""What the stages' code is, and what it makes of a tiny corpus: so that no changed stage is reused in silence.

    make same-results    # after a change of code that makes the very same results

`tests/stages.json` holds, for each stage, its version and a hash of the code that bears on its result (its module and
all that it imports of ours, without comments and docstrings), and digests of a tiny corpus, its blocks, their masks and
their order. A test fails where a hash is another one and the version is the same. Then either the results changed, and
the stage's `version` has to be raised so that old records no longer count; or they did not, and this command renews the
hashes, which it refuses to do where one of the digests has changed.
"""

import ast
import hashlib
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from import_graph import graph, modules_of, reached

from stages.context import StageContext, declared
from stages.storage import Folder

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tests" / "stages.json"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
"""The hashes are of what this version's parser makes of the code."""
STAGES = (
    "stages.corpus.stage:gather stages.tokens.stage:pack stages.teacher.stage:fetch stages.teacher.stage:adapt "
    "stages.teacher.pretrain:learn_vocabulary stages.teacher.pretrain:pretrain stages.teacher.pretrain:release "
    "stages.distil.stage:distil stages.distil.as_long:distil_as_long stages.evaluation.stage:evaluate "
    "stages.tasks.stage:compare_on_tasks stages.publish.stage:publish stages.classifier.fetch:fetch_classifier "
    "stages.classifier.stage:shrink stages.classifier.publish:publish_classifier"
).split()
TEXT = "the cat sat on the mat and looked at the dog, which had seen it before. " * 4


def bare(source: str) -> str:
    """The code without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            kept = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
            node.body = kept or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.unparse(tree)


def code_hash(module: str) -> str:
    """SHA-256 over the module's code and that of all modules of ours which it imports, sooner or later."""
    files = modules_of(ROOT)
    ours = sorted({module, *(one for one in reached(module, graph()) if one in files)})
    digest = hashlib.sha256()
    for one in ours:
        digest.update(f"{one}\n{bare(files[one].read_text(encoding='utf-8'))}\n".encode())
    return digest.hexdigest()[:16]


def stages_now() -> dict[str, dict[str, int | str]]:
    """Each stage's version and code, by its name."""
    found: dict[str, dict[str, int | str]] = {}
    for place in STAGES:
        module, name = place.split(":")
        said = declared(getattr(import_module(module), name))
        found[said.name] = {"version": said.version, "code": code_hash(module)}
    return found


def digests_now(folder: Path) -> dict[str, str]:
    """What the code makes of a tiny corpus in `folder`; needs a running Ray. The same on every machine."""
    from tiny import WORDS, tiny_rule

    from stages.corpus.config import CorpusConfig
    from stages.corpus.stage import gather
    from stages.distillation.data.data_order import Plan
    from stages.distillation.data.masking import mask
    from stages.distillation.data.rows import Rows

    (folder / "in").mkdir(parents=True)
    for number in range(3):
        lines = [f"{TEXT} {' '.join(WORDS[(number + i) % 40] for i in range(9))} number {i}" for i in range(20)]
        (folder / "in" / f"{number}.txt").write_text("\n".join(lines))
    asked = CorpusConfig(source="files", paths=(f"{folder}/in/*.txt",), heldout_fraction=0.2)
    corpus = gather(asked, StageContext(folder=Folder(str(folder / "corpus")), seed=0))
    rows, ids = np.arange(12), np.arange(12 * 16, dtype=np.int32).reshape(12, 16) % 38 + 5
    masked = mask(Rows(ids), rows, epoch=3, seed=7, rule=tiny_rule())
    plan = Plan(shard_rows=(40, 23, 9), global_batch=12, steps=14, seed=3, window_rows=24)
    order = [plan.window_batches(window, range(plan.streams)) for window in plan.windows(0)]
    return {
        "corpus": documents_digest(corpus),
        "blocks": blocks_digest(folder, corpus),
        "masks": _sha(masked.input_ids_RL, masked.positions_RM, masked.labels_RM),
        "order": _sha(*order),
    }


def documents_digest(corpus: Any) -> str:
    """Over all documents in their order; not `corpus.digest`, which is one of them and may come to be another."""
    digests = []
    for name in (*corpus.shards, *corpus.heldout_shards):
        ids = pq.read_table(f"{corpus.folder.path}/{name}").column("id").to_pylist()
        digests.append(hashlib.sha256("".join(ids).encode()).hexdigest())
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def blocks_digest(folder: Path, corpus: object) -> str:
    """Over all packed blocks and the token counts."""
    from published import tiny_tokenizer
    from tiny import WORDS, all_rows

    from stages.teacher.artifact import Teacher
    from stages.tokens.config import TokensConfig
    from stages.tokens.stage import pack

    words = dict.fromkeys((*TEXT.replace(",", "").replace(".", "").split(), *WORDS))
    tiny_tokenizer(tuple(words)).save_pretrained(folder / "tokenizer")
    source = Teacher(
        folder=Folder(str(folder / "tokenizer")), name="t", layers=1, width=1, vocab_size=1, positions=16, parameters=1
    )
    context = StageContext(folder=Folder(str(folder / "blocks")), seed=0)
    blocks = pack(TokensConfig(block_length=16, packing="stream"), corpus, source, context)  # type: ignore[arg-type]
    return _sha(all_rows(blocks, blocks.shards), all_rows(blocks, blocks.heldout), blocks.counts())


def _sha(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}".encode() + np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()


def main() -> int:
    """Renew the file; refuse where results changed and no version was raised."""
    import tempfile

    import ray

    ray.init(include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        now = {"python": PYTHON, "stages": stages_now(), "digests": digests_now(Path(folder))}
    before = json.loads(FILE.read_text()) if FILE.exists() else {"stages": {}, "digests": {}}
    raised = any(one["version"] != before["stages"].get(name, one)["version"] for name, one in now["stages"].items())
    other = [name for name, digest in now["digests"].items() if before["digests"].get(name, digest) != digest]
    if other and not raised:
        print(f"{', '.join(other)}: results have changed; raise the `version` of the stage that makes them.")
        return 1
    FILE.write_text(json.dumps(now, indent=1) + "\n")
    print(f"{FILE.relative_to(ROOT)} is renewed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
