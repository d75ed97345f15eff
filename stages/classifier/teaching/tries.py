"""The fine-tunings of one student: each is a Ray task, and is kept as it ends."""

from collections.abc import Iterable, Mapping, Sequence

import ray

from stages.classifier.artifact import Classifier
from stages.classifier.config import ShrinkConfig
from stages.classifier.teaching.work import FITTED, Fitted, ask_teacher, fit, read_fitted
from stages.context import StageContext
from stages.storage import Folder
from stages.tasks.artifact import TEACHER
from stages.tasks.comparison.fits import settings_of
from stages.tasks.comparison.run_fits import as_they_end, remote, taken
from stages.tasks.examples import Labelled
from stages.tasks.fine_tuning.learn import Setting

Try = tuple[Setting, int]
"""A setting and a seed."""


def best(outcomes: Mapping[Try, Fitted]) -> Try:
    """The try with the best score on the part of train that was kept back; of equals the first."""
    return max(outcomes, key=lambda one: outcomes[one].inner)


class Tries:
    """Those that an earlier call kept are taken, the others made."""

    def __init__(self, config: ShrinkConfig, labelled: Labelled, context: StageContext) -> None:
        self.config, self.reference = config, ray.put(labelled)
        """`reference`: the task's rows in Ray's object store."""
        self._context, self._kept = context, context.folder / "fitted"
        rules = config.fine_tuning
        self._done, self._total = 0, len(settings_of(rules)) + rules.seeds

    def folder(self, one: Try) -> Folder:
        """Where a student is kept."""
        setting, seed = one
        return self._kept / f"{setting.learning_rate:g}-{setting.epochs}-{seed}"

    def teacher(self, teacher: Classifier) -> Fitted:
        """What the teacher answers; what it says to train is there for the students then."""
        folder = self._kept / TEACHER
        found = read_fitted(folder)
        if found is None:
            task = remote(self.config.fine_tuning, ask_teacher)
            waiting = {task.remote(teacher.folder, self.reference, self.config, folder): TEACHER}
            for _, reference in as_they_end(waiting, self._context):
                found = taken(reference)
        assert found is not None, "a task that ended came to something"
        self._tell()
        return found

    def students(self, start: Folder, tries: Sequence[Try]) -> dict[Try, Fitted]:
        """What each came to, in the order given; `start`: the student before it learns."""
        found, waiting = {one: read_fitted(self.folder(one)) for one in tries}, {}
        task = remote(self.config.fine_tuning, fit)
        for one, there in found.items():
            if there is None:
                given = (start, self.reference, self.config, *one, self._kept / TEACHER, self.folder(one))
                waiting[task.remote(*given)] = one
            else:
                self._tell()
        for one, reference in as_they_end(waiting, self._context):
            found[one] = taken(reference)
            self._tell()
        return {one: there for one, there in found.items() if there is not None}

    def forget(self, tries: Iterable[Try]) -> None:
        """Remove the models that were not chosen; what they came to stays."""
        for one in tries:
            if self.folder(one).names() == [FITTED]:  # an earlier call did so
                continue
            there = self.folder(one).read_bytes(FITTED)
            self.folder(one).remove()
            self.folder(one).write_bytes(FITTED, there)

    def _tell(self) -> None:
        self._done += 1
        self._context.on_progress(self._done, self._total, "models")
