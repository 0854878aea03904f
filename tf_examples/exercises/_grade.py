"""Grades a class: in parallel, resumable, and without a student's name in anything but the CSV."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import hashlib
import hmac
import importlib.metadata
import json
import multiprocessing
import secrets
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from tf_examples._options import OptionError
from tf_examples._report import Table, write_whole
from tf_examples.exercises import _check, _child, _exercise, _folder, _isolation
from tf_examples.exercises._check import Verdict
from tf_examples.exercises._isolation import Limits
from tf_examples.exercises._lms import Grade, Submission
from tf_examples.exercises.catalogue import ENTRIES

_SECRET = ".secret"
_SEED = ".seed"


@dataclass(frozen=True)
class Result:
    """What became of one submission."""

    id: str
    """The student's pseudonym."""
    verdicts: Sequence[Verdict]
    problems: Sequence[str]
    reused: bool = False
    """Whether it was graded by an earlier run."""

    @property
    def points(self) -> int:
        """The sum over the exercises."""
        return sum(verdict.points for verdict in self.verdicts)


class Class:
    """A folder of grades, readable by its owner only.

    Args:
        directory: made where it is missing.
        exercises: the names of those that are graded.
        seed: draws the cases, the same for all; drawn once for a new folder, then kept, if None.
        variants: the variant of each student, by `Submission.key`.
        closed: folders that students' code may not open.

    Raises:
        OptionError: where the folder can't be written, or was begun with another seed.
    """

    def __init__(
        self,
        directory: Path,
        exercises: Sequence[str],
        seed: int | None = None,
        variants: Mapping[str, int] | None = None,
        limits: Limits | None = None,
        closed: Sequence[Path] = (),
    ) -> None:
        self.directory, self.exercises = directory, tuple(exercises)
        self.variants, self.limits = variants, limits or Limits()
        self.closed = (*closed, directory)
        try:
            if directory.exists() and any(directory.iterdir()) and not self._is_ours():
                raise OptionError(f"{directory} holds something else: name a new folder for grades")
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            self._secret = bytes.fromhex(self._kept(_SECRET, secrets.token_hex(32)))
            drawn = str(secrets.randbelow(2**31) if seed is None else seed)
            self.seed = int(self._kept(_SEED, drawn))
        except (OSError, ValueError) as error:
            raise OptionError(f"can't write grades to {directory}: {error}") from error
        if seed not in (None, self.seed):
            raise OptionError(
                f"{directory} was begun with seed {self.seed}: leave --seed out to go on with it, "
                "or name another folder"
            )

    def _kept(self, name: str, new: str) -> str:
        """The content of a file of this folder; `new` is written where there is none."""
        path = self.directory / name
        if not path.exists():
            self.write(name, new)
        return path.read_text(encoding="utf-8")

    def _is_ours(self) -> bool:
        return (self.directory / _SECRET).is_file()

    def write(self, name: str, text: str) -> None:
        """Writes a file of this folder whole, for its owner alone."""
        path = self.directory / name
        for parent in reversed(path.relative_to(self.directory).parents[:-1]):
            (self.directory / parent).mkdir(mode=0o700, exist_ok=True)
        write_whole(path, text.encode("utf-8", "backslashreplace"))
        path.chmod(0o600)

    def id(self, submission: Submission) -> str:
        """The student's pseudonym: the same in every run of this folder, and in no other."""
        key = submission.key.encode("utf-8", "surrogateescape")  # a folder's name can be anything
        digest = hmac.new(self._secret, key, "sha256")
        return f"s-{digest.hexdigest()[:10]}"

    def conventions(self, submission: Submission) -> dict[str, dict[str, str]]:
        """The conventions that this student's exercises stated."""
        variant = (self.variants or {}).get(submission.key)
        return {name: _folder.conventions(name, variant) for name in self.exercises}

    def grade(
        self, submissions: Sequence[Submission], workers: int, tell: Callable[[int, int], None]
    ) -> list[Result]:
        """Grades what is not graded yet, and writes each result as it comes.

        Args:
            workers: how many are graded at a time.
            tell: called with how many are done, and of how many, after each.
        """
        results = {s.key: r for s in submissions if (r := self._earlier(s))}
        tell(len(results), len(submissions))
        rest = [s for s in submissions if s.key not in results]
        for submission, verdicts, failure in self._graded(rest, workers):
            problems = [*self._problems(submission), *([failure] if failure else [])]
            result = Result(self.id(submission), verdicts, problems)
            self._write(submission, result, is_final=not failure)
            results[submission.key] = result
            tell(len(results), len(submissions))
        return [results[s.key] for s in submissions]

    def _graded(
        self, submissions: Sequence[Submission], workers: int
    ) -> Iterator[tuple[Submission, list[Verdict], str]]:
        """Grades in parallel; those at work when a process died are tried again, one by one.

        The text says why a submission could not be graded; it is empty where it could.
        """
        tasks = {s.key: self._task(s) for s in submissions}
        lost: list[Submission] = []
        with _pool(workers) as pool:
            futures = {pool.submit(_grade_one, *tasks[s.key]): s for s in submissions}
            for future in concurrent.futures.as_completed(futures):
                try:
                    yield futures[future], *self._verdicts(future)
                except BrokenProcessPool:
                    lost.append(futures[future])
        for submission in lost:
            try:
                with _pool(1) as pool:
                    future = pool.submit(_grade_one, *tasks[submission.key])
                    yield submission, *self._verdicts(future)
            except BrokenProcessPool:
                why = "the grader's process was ended while it graded this"
                yield submission, self._none(why), why

    def _verdicts(self, future: concurrent.futures.Future) -> tuple[list[Verdict], str]:
        """What came of a submission; nobody's can stop the others' from being graded."""
        try:
            return future.result(), ""
        except BrokenProcessPool:
            raise
        except Exception as error:  # its text may be the student's
            why = f"the grader failed on this ({type(error).__name__}): graded 0, look at it"
            return self._none(why), why

    def _none(self, why: str) -> list[Verdict]:
        return [Verdict(name, False, 0, why) for name in self.exercises]

    def _task(self, submission: Submission) -> tuple:
        files = {name: submission.files.get(name) for name in self.exercises}
        return files, self.conventions(submission), self.seed, self.limits, self.closed

    def _problems(self, submission: Submission) -> list[str]:
        problems = list(dict.fromkeys(submission.problems))
        if not submission.files:
            problems.append("nothing to grade: no file is named like an exercise")
        if self.variants is not None and submission.key not in self.variants:
            problems.append("not in the list of variants: graded by the usual conventions")
        return problems

    def _name(self, submission: Submission, name: str) -> str:
        return f"students/{self.id(submission)}/{name}"

    def _fingerprint(self, submission: Submission) -> str:
        """Changes with whatever a result depends on."""
        sources = [
            Path(module.__file__ or "").read_bytes()
            for module in (_check, _child, _exercise, _isolation)
        ]
        for name in self.exercises:
            exercise = _exercise.load(name)
            spec = _exercise.FOLDER / "specs" / f"{name}.py"
            sources += [exercise.text.encode(), spec.read_bytes()]
        digest = hashlib.sha256()
        numpy = importlib.metadata.version("numpy")
        parts = (self.exercises, self.seed, self.limits, self.conventions(submission), numpy)
        for part in (repr(parts).encode(), repr(self._problems(submission)).encode(), *sources):
            digest.update(hashlib.sha256(part).digest())
        for name in self.exercises:
            digest.update(hashlib.sha256(submission.files.get(name, b"\0")).digest())
        return digest.hexdigest()

    def _earlier(self, submission: Submission) -> Result | None:
        """The result of an earlier run, if nothing that it depends on has changed."""
        try:
            path = self.directory / self._name(submission, "verdicts.json")
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept["fingerprint"] != self._fingerprint(submission):
                return None
            verdicts = [Verdict(**verdict) for verdict in kept["verdicts"]]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return Result(self.id(submission), verdicts, self._problems(submission), reused=True)

    def _write(self, submission: Submission, result: Result, is_final: bool) -> None:
        """Writes a result; one that is not final is graded again by the next run."""
        kept = {
            "fingerprint": self._fingerprint(submission),
            "verdicts": [dataclasses.asdict(verdict) for verdict in result.verdicts],
        }
        gradescope = json.dumps(results_json(result), indent=1, ensure_ascii=False)
        self.write(self._name(submission, "results.json"), gradescope)
        text = json.dumps(kept, indent=1, ensure_ascii=False)
        if is_final:
            self.write(self._name(submission, "verdicts.json"), text)  # last: now it is done


def _grade_one(
    files: Mapping[str, bytes | None],
    conventions: Mapping[str, Mapping[str, str]],
    seed: int,
    limits: Limits,
    closed: Sequence[Path],
) -> list[Verdict]:
    """Runs in a worker process."""
    return _check.check(files, conventions, seed, limits, closed)


def _make_folders_in(place: str) -> None:
    """In a worker: its temporary folders go where whoever ends it will delete them."""
    tempfile.tempdir = place


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """Processes that are ended when the `with` block is left early, as by Ctrl-C."""
    place = tempfile.mkdtemp(prefix="grading-")
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(workers, context, _make_folders_in, (place,))
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        processes = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:
            process.terminate()
        for process in processes:
            process.join(5)
            process.kill()
        raise
    finally:
        _isolation.remove(Path(place))


def results_json(result: Result) -> dict:
    """The result as Gradescope reads it (its autograder specification, "results.json")."""
    entries = {entry.name: entry for entry in ENTRIES}
    tests = [
        {
            "name": verdict.exercise,
            "score": verdict.points,
            "max_score": entries[verdict.exercise].points,
            "status": "passed" if verdict.passed else "failed",
            "output": verdict.message,
            "visibility": "visible",
        }
        for verdict in result.verdicts
    ]
    return {
        "score": result.points,
        "execution_time": round(sum(verdict.seconds for verdict in result.verdicts)),
        "output": "\n".join(result.problems),
        "visibility": "visible",
        "tests": tests,
    }


def grade_of(submission: Submission, result: Result) -> Grade:
    """What goes into the class's CSV."""
    passed = [verdict.exercise for verdict in result.verdicts if verdict.passed]
    missing = [verdict.exercise for verdict in result.verdicts if not verdict.passed]
    parts = [f"passed: {', '.join(passed) or 'none'}", f"not yet: {', '.join(missing) or 'none'}"]
    return Grade(submission, result.points, "; ".join([*parts, *result.problems]))


def summary(results: Sequence[Result]) -> list[Table]:
    """What a teacher debriefs: exercises, the mistakes made most, the cases failed most."""
    exercises = list(dict.fromkeys(v.exercise for result in results for v in result.verdicts))
    verdicts = [v for result in results for v in result.verdicts]
    rows = []
    for name in exercises:
        own = [v for v in verdicts if v.exercise == name]
        begun = [v for v in own if v.passed or not v.message.startswith(("Not st", "There is no"))]
        passed = sum(v.passed for v in own)
        rows.append((name, len(begun), passed, 100 * passed / len(own)))
    failed = [v for v in verdicts if not v.passed]
    mistakes = collections.Counter((v.exercise, v.mistake) for v in failed if v.mistake)
    cases = collections.Counter((v.exercise, v.case) for v in failed if v.case)
    errors = collections.Counter((v.exercise, v.error) for v in failed if v.error)
    return [
        Table(
            f"{len(results)} submissions",
            ("exercise", "begun", "passed", "% of all"),
            ("", "d", "d", ".0f"),
            rows,
        ),
        Table(
            "The mistakes made most",
            ("exercise", "mistake", "times"),
            ("", "", "d"),
            [(*key, count) for key, count in mistakes.most_common(15)],
        ),
        Table(
            "The cases that failed first most",
            ("exercise", "case", "times"),
            ("", "", "d"),
            [(*key, count) for key, count in cases.most_common(15)],
        ),
        Table(
            "What could not be run",
            ("exercise", "why", "times"),
            ("", "", "d"),
            [(*key, count) for key, count in errors.most_common(15)],
        ),
    ]
