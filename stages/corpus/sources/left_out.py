"""What lies in a folder of text and is no text: hidden files, what writers of tables keep there, what a run made."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass

NOT_TEXT = {
    "_delta_log": "the log of a Delta table; files that it has removed are read too",
    "_change_data": "the changes of a Delta table",
    "_temporary": "an unfinished writer's",
    "_spark_metadata": "the log of a Spark stream",
    "_symlink_format_manifest": "the manifest of a table",
    "__MACOSX": "what a Mac packs along",
    "mlruns": "MLflow's",
    "mlartifacts": "MLflow's",
}
"""Folders, by name. Others that begin with _ may be anybody's, and are read."""
RUN, RECORD = "run.json", "record.json"
_OF_A_RUN = (RUN, RECORD, "report.json")
_FINGERPRINT = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a path of the corpus looks, and what tells of a folder that is met there whose it is."""

    base: str
    """The folder in which the path's wildcards begin; it was named, and is not asked about."""
    spelled: tuple[str, ...]
    """The path's parts below it: what is written out there is meant."""
    root: str
    """Where this run keeps its stages; empty where nobody said."""
    holds: Callable[[str, str], bool]
    """(folder, name): whether there is such a file."""
    real: Callable[[str], str] = str
    """A path without its links."""

    def why(self, path: str) -> str:
        """Why a file below `base` is not read, in a sentence; empty where it is."""
        parts = path[len(self.base) :].strip("/").split("/")
        folders = ("/".join((self.base.rstrip("/"), *parts[:count])) for count in range(1, len(parts)))
        return next(filter(None, map(self.why_folder, folders)), "") or self._why_file(path)

    def why_folder(self, path: str) -> str:
        """Why a folder is not entered; empty where it is."""
        name = os.path.basename(path)
        if name in self.spelled:
            return ""
        if name.startswith(".") and not any(part.startswith(".") for part in self.spelled[:-1]):
            return f"{path} is hidden."
        if name in NOT_TEXT:
            return f"{path} is {NOT_TEXT[name]}."
        return f"{path} is what a run made." if _FINGERPRINT.fullmatch(name) and self._is_a_stages(path) else ""

    def _why_file(self, path: str) -> str:
        folder, name = os.path.split(path)
        if name in self.spelled:
            return ""
        if name.startswith(".") and not any(part.startswith(".") for part in self.spelled[-1:]):
            return f"{path} is hidden."
        ours = name in _OF_A_RUN and (self.holds(folder, RUN) or self.holds(folder, RECORD))
        return f"{path} is what a run made." if ours else ""

    def _is_a_stages(self, path: str) -> bool:
        """`<root>/<stage>/<fingerprint>`: this run's; or another's, by its record, or by the run.json above."""
        above = os.path.dirname(os.path.dirname(path))
        if self.root and self.real(above) == self.root:
            return True
        inside = above == self.base or above.startswith(f"{self.base.rstrip('/')}/")
        return inside and (self.holds(path, RECORD) or self.holds(above, RUN))
