"""Scores beside transformers' own loss and plain loops over positions."""

from dataclasses import replace

import pytest
import torch
from tiny import VOCAB, tiny_batch, tiny_bert

from stages.distillation.score import compare, predict, score


def test_score_loss_is_that_of_transformers_and_top1_counts_hits() -> None:
    model, batch = tiny_bert(), tiny_batch(rows=4)
    with torch.no_grad():  # an untrained model never hits: row r asks for what it says at r of its three
        said = model(batch.input_ids_RL).logits.argmax(-1).gather(1, batch.positions_RM)
    hit = torch.arange(3) <= torch.arange(4).unsqueeze(1) - 1
    batch = replace(batch, labels_RM=torch.where(hit, said, (said + 1) % VOCAB))
    found = score(predict(model, batch), batch)
    labels = torch.full_like(batch.input_ids_RL, -100).scatter(1, batch.positions_RM, batch.labels_RM)
    with torch.no_grad():
        logits = model(batch.input_ids_RL).logits
        for row in range(4):
            expected = model(batch.input_ids_RL[row : row + 1], labels=labels[row : row + 1]).loss
            assert found.mlm_loss[row].item() == pytest.approx(expected.item(), rel=1e-5)
            hits = [
                logits[row, p].argmax() == t for p, t in zip(batch.positions_RM[row], batch.labels_RM[row], strict=True)
            ]
            assert found.top1[row].item() == pytest.approx(sum(map(int, hits)) / len(hits))
    assert found.top1.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert found.mlm_loss.dtype == torch.float64


def test_compare_closeness_is_that_of_a_plain_loop() -> None:
    ours, theirs, batch = tiny_bert(seed=1), tiny_bert(seed=2), tiny_batch(rows=3)
    found = compare(predict(ours, batch), predict(theirs, batch), batch)
    with torch.no_grad():
        out = [model.double()(batch.input_ids_RL, output_hidden_states=True) for model in (ours, theirs)]
    for row in range(3):
        p, q = (o.logits[row, batch.positions_RM[row]].softmax(-1) for o in out)
        assert found.kl[row].item() == pytest.approx((q * (q / p).log()).sum(-1).mean().item(), rel=1e-4)
        assert found.agreement[row].item() == pytest.approx((p.argmax(-1) == q.argmax(-1)).double().mean().item())
        cosine = torch.cosine_similarity(*(o.hidden_states[-1][row] for o in out), dim=-1)
        assert found.cosine[row].item() == pytest.approx(cosine.mean().item(), rel=1e-5)


def test_compare_a_model_with_itself_agrees_wholly() -> None:
    batch = tiny_batch()
    prediction = predict(tiny_bert(), batch)
    found = compare(prediction, prediction, batch)
    assert found.kl.abs().max() == 0
    assert found.agreement.min() == 1
    assert found.cosine.min() == pytest.approx(1, abs=1e-6)
