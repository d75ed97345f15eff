"""The exceptions that have a meaning outside of the stage that raises them."""


class InputError(ValueError):
    """Something the user gave is wrong; one sentence says what, where and what to do about it.

    The command line prints the sentence and exits with status 2. Stages raise it, wherever they run: it survives
    pickling, so that one raised in a Ray task arrives whole (see `unwrap`).
    """


class ConfigError(InputError):
    """A config field breaks its rule: names the field's path, the value, and the rule."""

    def __init__(self, field: str, value: object, rule: str) -> None:
        super().__init__(field, value, rule)
        self.field, self.value, self.rule = field, value, rule

    def __str__(self) -> str:
        return f"{self.field} is {self.value!r} but {self.rule}."


class Preempted(Exception):
    """Training was asked to stop and did, after a checkpoint; the same call continues from it."""

    def __init__(self, step: int) -> None:
        super().__init__(step)
        self.step = step
        self.signal = "SIGTERM"
        """What had asked for it."""


def unwrap(error: BaseException) -> BaseException:
    """The `InputError` inside what Ray wrapped around it (RayTaskError, UserCodeException, ...), or `error` itself."""
    seen: set[int] = set()
    queue: list[BaseException | None] = [error]
    while queue:
        current = queue.pop(0)
        if current is None or id(current) in seen:
            continue
        if isinstance(current, InputError):
            # Ray raises a class made on the spot that is both a RayTaskError and an InputError, and whose text is a
            # traceback; the one that was raised is its cause.
            inner = getattr(current, "cause", None)
            return inner if isinstance(inner, InputError) else current
        seen.add(id(current))
        nested = getattr(current, "worker_failures", None)  # ray.train: rank -> exception
        queue += [current.__cause__, getattr(current, "cause", None), current.__context__]
        queue += list(nested.values()) if isinstance(nested, dict) else []
    return error


def innermost(error: BaseException) -> BaseException:
    """What was raised first, inside of all that Ray or others wrapped around it: what a person is to be told."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        nested = getattr(error, "worker_failures", None)
        failures = list(nested.values()) if isinstance(nested, dict) else []
        causes = [*failures, getattr(error, "cause", None), error.__cause__]
        error = next((one for one in causes if isinstance(one, BaseException) and id(one) not in seen), error)
    return error
