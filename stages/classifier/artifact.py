"""What the stages of a classifier make."""

from dataclasses import dataclass

from stages.storage import Folder
from stages.tasks.task import Kind


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A fine-tuned model on storage: config, fp32 safetensors and tokenizer, as transformers loads them."""

    folder: Folder
    name: str
    """As it is known: a hub name, or a folder's name."""
    words: bool
    """Whether it gives a class to every word; otherwise to a text, or a number."""
    labels: tuple[str, ...]
    """Its classes' names by number, as its config.json has them; one for a number."""
    layers: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class ClassifierScore:
    """One model: how good on dev, how large, how fast."""

    score: float
    """By the task's metric."""
    others: dict[str, float]
    """By its further metrics."""
    parameters: int
    bytes: int
    """Of the parameters in fp32."""
    latency_ms: float
    """Median forward pass of one example of dev, its own length: batch 1, fp32, CPU."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Which of the students is kept."""

    layers: tuple[int, ...]
    """The teacher's blocks that all were made of."""
    learning_rate: float
    epochs: int
    seed: int
    by_seed: tuple[float, ...]
    """On dev, by the task's metric, of all that were fine-tuned in this setting."""


@dataclass(frozen=True, kw_only=True)
class Shrunk:
    """The student beside its teacher."""

    folder: Folder
    """Model and tokenizer."""
    answers: Folder
    """Where answers.json lies: both models' answers to dev, and what is true."""
    task: str
    kind: Kind
    metric: str
    """Higher is better."""
    classes: tuple[str, ...]
    """By number, as both models give them; () for a number."""
    train: int
    """Examples that the student learned from."""
    chosen_on: int
    """Examples of train that were kept back to choose it by; 0 where there was nothing to choose."""
    n: int
    """Examples of dev, by which nothing was chosen."""
    dev_digest: str
    """Of dev's examples and their labels: answers of two models compare where it is the same."""
    teacher: ClassifierScore
    student: ClassifierScore
    kept: float
    """Student's score / teacher's; 0 where the teacher itself knows nothing."""
    interval: tuple[float, float]
    """Of `kept`: 95 % over dev's examples, the same ones for both."""
    chosen: Chosen
    notes: tuple[str, ...]
    """Sentences for a person: what was guessed of the data, cut off or left out."""
