"""Rank 0 reads, the others are told: the same bits on all, and the same bytes out of the store for any number."""

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from object_store import ObjectStore
from published import tiny_tokenizer
from safetensors.torch import load_file, save_file
from tiny import WORDS, tiny_batch, tiny_blocks
from tiny_families import CONFIGS, tiny_model
from trainings import CONFIG, SEED, damage, tiny_task

from stages.distillation.data.data_order import Plan
from stages.distillation.losses.weights import LossWeights
from stages.distillation.step import adamw
from stages.models import load_model
from stages.storage import Folder, filesystem_of
from stages.tokens.blocks import Blocks
from stages.training.checkpoints import checkpoint, snapshot
from stages.training.checkpoints.checkpoint import TrainState
from stages.training.job import Job, TrainingTask
from stages.training.start.shared import fill_, layout_of, tensors_of
from stages.training.start.source import source_of

pytestmark = pytest.mark.timeout(300)
CPU = torch.device("cpu")


def job_of(task: TrainingTask, blocks: Blocks, folder: Folder) -> Job:
    plan = Plan(shard_rows=tuple(s.rows for s in blocks.shards), global_batch=12, steps=6, seed=SEED)
    return Job(task=task, config=CONFIG, plan=plan, blocks=blocks, folder=folder, seed=SEED, use_gpu=False)


def held(job: Job, rank: int, workers: int) -> dict[str, Any]:
    """All that a worker starts with, as plain tensors and numbers."""
    source = source_of(job, CPU, torch.float32, rank=rank, workers=workers)
    assert source.teacher is not None
    with torch.no_grad():
        logits = [model.eval()(tiny_batch().input_ids_RL).logits for model in (source.model, source.teacher)]
    return {
        "model": tensors_of(source.model),
        "teacher": tensors_of(source.teacher),
        "moments": snapshot.moments(source.optimizer),
        "logits": dict(zip(("model", "teacher"), logits, strict=True)),
        "rest": (source.state, source.counts.tolist(), source.broken if rank == 0 else ()),
        "trained": [name for name, p in source.model.named_parameters() if p.requires_grad],
        "kept": (source.model.training, source.teacher.training, type(source.model).__name__),
    }


def worker(rank: int, workers: int, folder: Path, jobs: dict[str, Job], environment: dict[str, str]) -> None:
    os.environ.update(environment)  # the server that forks may be older than what is there now: the store's address
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=workers)
    torch.save({name: held(job, rank, workers) for name, job in jobs.items()}, folder / f"{rank}.pt")
    dist.destroy_process_group()


def all_held(workers: int, folder: Path, jobs: dict[str, Job]) -> list[dict[str, Any]]:
    """What each of several processes holds, by rank: for each of the jobs."""
    folder.mkdir()
    context = multiprocessing.get_context("forkserver")  # imports once for all, in a process that has no threads yet
    context.set_forkserver_preload(["stages.training.start.source"])
    processes = [
        context.Process(target=worker, args=(rank, workers, folder, jobs, dict(os.environ))) for rank in range(workers)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=200)
        process.kill()  # does nothing to one that has ended
    assert [process.exitcode for process in processes] == [0] * workers
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(workers)]


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    for part in ("model", "teacher", "moments", "logits"):
        assert found[part].keys() == expected[part].keys()
        assert [name for name in expected[part] if not torch.equal(found[part][name], expected[part][name])] == []
    for part in ("trained", "kept"):
        assert found[part] == expected[part]
    assert found["rest"][:2] == expected["rest"][:2]


def upload(folder: Path, target: Folder) -> Folder:
    import pyarrow.fs

    filesystem, path = filesystem_of(target.uri)
    pyarrow.fs.copy_files(str(folder), path, destination_filesystem=filesystem)
    return target


def save_checkpoints(task: TrainingTask, folder: Folder, *steps: int) -> None:
    """Of a student that has learned a little, so that there are moments."""
    model = load_model(task.start, torch.float32, CPU)
    optimizer = adamw(model, learning_rate=1e-2, weight_decay=0.01)
    for step in steps:
        model(tiny_batch(seed=step).input_ids_RL).logits.square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        tensors = snapshot.copied(model, optimizer)
        checkpoint.save(folder / "checkpoints", TrainState(step=step, micro_batch=4), model, tensors, task.start)


def test_restart_of_any_number_of_workers_moves_the_same_bytes_at_most_two_checkpoints(
    s3: ObjectStore, tmp_path: Path
) -> None:
    """Real S3 by HTTP, every byte that the server sends counted; the newest checkpoint was cut short, and does not
    count, the one before is whole."""
    there = Folder(f"{s3.address}/{tmp_path.name}")
    local, on_disk = tiny_task(tmp_path), tiny_blocks(tmp_path / "blocks")
    save_checkpoints(local, Folder(str(tmp_path / "training")), 2, 4, 6)
    (tmp_path / "training/checkpoints/step-00000006/manifest.json").unlink()
    size = sum(file.stat().st_size for file in (tmp_path / "training/checkpoints/step-00000004").iterdir())
    assert local.teacher is not None
    task = TrainingTask(
        start=upload(local.start.path, there / "start"),
        teacher=upload(local.teacher.path, there / "teacher"),
        weights=LossWeights(),
    )
    blocks = replace(on_disk, folder=upload(tmp_path / "blocks", there / "blocks"))
    job = job_of(task, blocks, upload(tmp_path / "training", there / "training"))
    moved = {}
    for workers in (1, 2, 4):
        s3.sent.clear()
        found = all_held(workers, tmp_path / f"of {workers}", {"job": job})
        moved[workers] = sum(s3.sent)
        for one in found:
            assert_same(one["job"], found[0]["job"])
        state, _, broken = found[0]["job"]["rest"]
        assert (state.step, state.micro_batch) == (4, 4)
        assert broken == ("step-00000006: it has no manifest.json: writing it was cut short",)
        expected = load_file(tmp_path / "training/checkpoints/step-00000004/model.safetensors")
        assert all(torch.equal(found[-1]["job"]["model"][name], tensor) for name, tensor in expected.items())
    assert size < moved[1] <= 2 * size
    assert moved[4] == moved[2] == moved[1]


def test_newest_that_is_damaged_is_passed_over_by_all(tmp_path: Path) -> None:
    task, blocks, folder = tiny_task(tmp_path), tiny_blocks(tmp_path / "blocks"), Folder(str(tmp_path / "training"))
    save_checkpoints(task, folder, 2, 4)
    damage(tmp_path / "training/checkpoints/step-00000004/optimizer.safetensors")
    zero, one = all_held(2, tmp_path / "both", {"job": job_of(task, blocks, folder)})
    assert_same(one["job"], zero["job"])
    assert one["job"]["rest"][0].step == 2
    assert "optimizer.safetensors is not what its manifest says" in zero["job"]["rest"][2][0]


def split(folder: Path) -> None:
    """The decoder's weight in a file of its own beside the table that its config ties it to, and another one."""
    file = folder / "model.safetensors"
    tensors = load_file(file)
    table = tensors["bert.embeddings.word_embeddings.weight"]
    save_file(tensors | {"cls.predictions.decoder.weight": table.flip(0).contiguous()}, file, {"format": "pt"})


def test_models_of_every_family_are_the_same_on_both_workers(tmp_path: Path) -> None:
    """Tied and untied, and a model whose files hold two tensors where its config asks for one."""
    blocks, jobs = tiny_blocks(tmp_path / "blocks"), {}
    names: list[tuple[str, dict[str, object], Callable[[Path], None] | None]] = [(name, {}, None) for name in CONFIGS]
    names += [("roberta", {"tie_word_embeddings": False}, None), ("bert", {}, split)]
    for number, (name, changes, spoil) in enumerate(names):
        folders = [tmp_path / f"{number}-{part}" for part in ("teacher", "start")]
        for seed, folder in enumerate(folders):
            tiny_model(name, seed=seed, **changes).save_pretrained(folder)
            tiny_tokenizer(WORDS).save_pretrained(folder)
            if spoil:
                spoil(folder)
        teacher, start = (Folder(str(folder)) for folder in folders)
        task = TrainingTask(start=start, teacher=teacher, weights=LossWeights())
        jobs[f"{number} {name}"] = job_of(task, blocks, Folder(str(tmp_path / f"{number}-training")))
    zero, one = all_held(2, tmp_path / "both", jobs)
    for name, job in jobs.items():
        assert_same(one[name], zero[name])
        assert_same(zero[name], held(job, 0, 1))
    last = f"{len(names) - 1} bert"
    assert "cls.predictions.decoder.weight" in one[last]["model"]


def test_fill_of_other_tensors_than_rank_0_has_says_so() -> None:
    model = tiny_model("bert")
    with pytest.raises(RuntimeError, match=r"other tensors than rank 0 \(bert\.embeddings.*same versions"):
        fill_(tensors_of(model.float()), layout_of(tensors_of(tiny_model("bert", hidden_size=32))))
