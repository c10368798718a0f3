"""What a stage is: settings, declared inputs and outputs, and one ``run``.

A stage never sees the recipe, the plan, the store or another stage: it gets paths, its own settings and a
:class:`Job`, calls the science, and writes its outputs into ``job.out``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, field_validator

from distill.base.artifact import Labels, LabelValue, Summary
from distill.base.compiler import check_compiler
from distill.base.consent import Code, Consent
from distill.base.progress import Progress
from distill.base.settings import Settings as BaseSettings

InputSpecs = Mapping[str, str | Mapping[str, str]]
"""Input name to where it comes from, by the rules of :class:`Stage`; by variant where variants differ."""

Paths = Mapping[str, Any]
"""Input name to a path; to a :class:`~distill.base.artifact.Artifact` where the whole artifact is asked for, and to a
list of them where the input collects a fanned-out stage."""


Compile = Annotated[bool, AfterValidator(check_compiler)]
"""Whether networks are compiled; refused where there is no compiler."""


class StageSettings(BaseSettings):
    """Base of the settings of every stage."""


class LossSettings(BaseSettings):
    """Weights of the terms of the objective, and how a residual counts."""

    energy: float = Field(10.0, ge=0)
    """Weight of the energy per atom (eV/atom)."""
    forces: float = Field(10.0, ge=0)
    """Weight of the force components (eV/Å)."""
    virial: float = Field(1.0, ge=0)
    """Weight of the components of the virial per atom (eV/atom), that is of the stress; 0 leaves it out."""
    atomic_energy: float = Field(0.0, ge=0)
    """Weight of the teacher's energies of single atoms (eV); needs synthetic.atomic_energies."""
    hessian: float = Field(0.0, ge=0)
    """Weight of the teacher's Hessian times a vector (eV/Å²); needs synthetic.hessian, and steps cost three times."""
    kind: Literal["huber", "mae", "rmse"] = "huber"
    """huber: quadratic for small residuals, linear for large ones; mae: mean absolute; rmse: root mean square."""
    huber: float = Field(0.05, gt=0)
    """Residual at which Huber's loss turns from quadratic to linear, in the unit of each term."""
    later: dict[Literal["energy", "forces", "virial"], Annotated[float, Field(ge=0)]] = {}
    """Weights that replace these late in the fit, as in {energy: 100, forces: 10}: forces first, energy later."""
    turn: float = Field(0.75, gt=0, lt=1)
    """Share of the steps after which they do."""
    balance: bool = False
    """Divide every term by its running mean, so that weights are shares of the gradient."""


class FitSettings(StageSettings):
    """How a potential is fitted; the same for fine-tuning a teacher and training a student."""

    renamed: ClassVar[Mapping[str, str]] = {"steps_per_round": "validation_interval"}

    steps: int = Field(5000, ge=1)
    """Optimisation steps at most."""
    batch_size: int = Field(8, ge=1)
    """Structures per step, for each of trainer.devices."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak of the learning rate."""
    optimiser: Literal["adamw", "muon", "soap"] = "adamw"
    """adamw; or muon, which makes the updates of weight matrices orthogonal and fine-tunes in fewer steps (with a
    learning rate of about 0.004); or soap, which is Adam in a basis that follows the gradients of each matrix."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """cosine: a linear rise over 5 % of the steps, then a fall to 1 %; plateau: falls when validation stagnates."""
    decay: float = Field(0.8, gt=0, lt=1)
    """What a plateau multiplies the learning rate by ..."""
    decay_patience: int = Field(25, ge=0)
    """... after more than this many validations without gain."""
    validation_interval: int | None = Field(100, ge=1)
    """Steps between two validations; null: one pass over the structures."""
    patience: int | None = Field(None, ge=1)
    """Validations without gain after which training stops; never if null."""
    max_time: float | None = Field(None, gt=0)
    """Minutes after which training stops at the next validation; results then depend on the speed of the machine."""
    weight_decay: float = Field(0.0, ge=0)
    """AdamW's weight decay."""
    average: float = Field(0.99, ge=0, lt=1)
    """Decay of the exponential moving average of the weights; 0 uses the plain weights."""
    clip: float = Field(10.0, ge=0)
    """Largest norm of the gradient; 0 does not clip."""
    loss: LossSettings = LossSettings()
    """Weights of energy, forces and virial."""

    def arguments(self) -> dict[str, Any]:
        """Return what the fit takes as plain arguments: all but ``loss``, and nothing that a subclass adds."""
        return self.model_dump(include=set(FitSettings.model_fields) - {"loss"})


class TrainerSettings(StageSettings):
    """On what potentials are fitted, and where the course of a fit is written: the same for all fits of a recipe."""

    devices: int = Field(1, ge=1, le=64)
    """Processes that train together, each on a GPU of its own, or on its share of the cores; a step learns from
    batch_size structures for each of them."""
    loggers: tuple[Literal["tensorboard", "wandb"], ...] = Field((), exclude=True)
    """Where the course of a fit is written besides its curve.csv: tensorboard, wandb (Weights & Biases)."""
    matmul: Literal["highest", "high", "medium"] = "highest"
    """Precision of products of matrices in float32: highest keeps it all, high takes TensorFloat32 and medium bfloat16
    where the GPU has them."""

    @field_validator("loggers")
    @classmethod
    def _can_log(cls, loggers: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what is named twice or not installed."""
        for name in loggers:
            if loggers.count(name) > 1:
                raise ValueError(f"{name} is named twice")
            try:
                version(name)
            except PackageNotFoundError:
                raise ValueError(f"{name} is not installed: pip install 'mlip-distill[logging]'") from None
        return loggers


class TrainedSettings(StageSettings):
    """Base of the settings of every stage that fits a potential."""

    trainer: TrainerSettings = TrainerSettings()
    """The recipe's ``trainer`` section."""


@dataclass
class Job:
    """What a running stage is given besides inputs and settings.

    Attributes:
        out: the folder to write declared outputs into; it is empty at first, but holds what an interrupted attempt
            left there when the task is resumed.
        labels: the fan-out labels of this task.
        seed: the recipe's seed; derive streams with :func:`distill.base.random.stream`.
        earlier: output folders, finished or not, of tasks that differ from this one only in settings that the stage
            ``extends``; what is useful there may be copied.
        device: a torch device string, ``"cpu"`` or ``"cuda"``.
        progress: where to report.
        consent: what the recipe names of code, which may run when saved potentials are opened.
        hash: of all that the task depends on: what the recipe says of it, files, code, and the tasks that it needs.
        missing: for each input that is collected and of which tasks may fail (``tolerates``), the labels of those that
            did, and so are not in its list.
        warnings: texts to show the user; append to it.

    The folder :attr:`scratch` is for what an interrupted attempt continues from and nobody needs later.
    """

    out: Path
    labels: Labels = field(default_factory=dict)
    seed: int = 0
    earlier: tuple[Path, ...] = ()
    device: str = "cpu"
    progress: Progress = field(default_factory=Progress)
    consent: Consent = field(default_factory=Consent)
    hash: str = ""
    missing: Mapping[str, Sequence[Labels]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def scratch(self) -> Path:
        """A folder beside ``out``: it goes, all at once, when the artifact is there. Make it before use."""
        return self.out.with_name(f"{self.out.name}.scratch")


class Stage(ABC):
    """One step of the pipeline. Subclasses declare, the plan connects.

    Class attributes:
        version: raise it when the stage's results change for equal inputs; it is part of the hash.
        section: the recipe key that holds this stage's settings; stages may share a section, each reads its own fields.
        plural: the recipe key that holds several such sections by name, where a recipe gives those instead. Tasks carry
            the name as a label that is called as the section is; who has no such label reads the first of them.
        only_for_several: the fanned-out stage whose tasks this one joins. Where that has one task alone, this stage has
            none, and whoever reads its outputs reads that task's outputs of the same names.
        shared: further sections of the recipe, by name, that belong to no stage; all that name one agree on its type.
        reads: settings field to dotted recipe path, for values that live in another section, or a whole shared one.
            What must not change the hash, because it does not change the result, is a field with ``exclude=True``.
        inputs: input name to what it is: ``"stage.output"``, ``"stage"`` for the whole :class:`Artifact`, or
            ``"recipe:data.train"`` for a file that the recipe names (None where it names none). A mapping by variant
            where variants differ. An input from a fanned-out stage is the path of the task with the same labels where
            this stage follows that fan-out, otherwise a list of :class:`Artifact`. ``"stage.output@variant"``, which
            may name the stage itself, is the path of the task that has this variant and otherwise the same labels, as
            far as it has them. ``"stage.output@"`` is the path of the task that :meth:`linked` names, None without one.
        tolerates: names of inputs that collect a fanned-out stage of which tasks may have failed: the stage does with
            the others, as long as there is one, and is told which are :attr:`Job.missing`.
        spares: those of them that the stage does without even where all have failed.
        waits: stages whose tasks are done before, as far as they do not fail, although nothing of them is read.
        outputs: output name to its file or folder name in the artifact.
        publish: output name to its name under ``runs/<name>/``, a format string of the labels and ``{suffix}``.
        each: the earlier stage whose fan-out this one follows: one task for each of its tasks, with the same labels
            and, where this stage fans out further, its own besides.
        hashed_labels: labels that change the result, and so the hash.
        timed: whether the result depends on the machine and the device, which are then part of the hash.
        extends: settings that say how far the work goes and change nothing on the way; where only these differ, a
            task is shown what earlier ones left, to continue from there.
    """

    version: ClassVar[int] = 1
    section: ClassVar[str] = ""
    plural: ClassVar[str] = ""
    only_for_several: ClassVar[str] = ""
    shared: ClassVar[Mapping[str, type[StageSettings]]] = {}
    reads: ClassVar[Mapping[str, str]] = {}
    inputs: ClassVar[InputSpecs] = {}
    tolerates: ClassVar[tuple[str, ...]] = ()
    spares: ClassVar[tuple[str, ...]] = ()
    waits: ClassVar[tuple[str, ...]] = ()
    outputs: ClassVar[Mapping[str, str]] = {}
    publish: ClassVar[Mapping[str, str]] = {}
    each: ClassVar[str] = ""
    hashed_labels: ClassVar[tuple[str, ...]] = ()
    extends: ClassVar[tuple[str, ...]] = ()
    timed: ClassVar[bool] = False
    Settings: ClassVar[type[StageSettings]] = StageSettings

    @classmethod
    def section_type(cls, raw: Any) -> Any:
        """Return the type that validates this stage's section; ``raw`` is the section as the recipe has it."""
        return cls.Settings

    @classmethod
    def fan_out(cls, section: Any, followed: Labels) -> list[dict[str, LabelValue]]:
        """Return the labels of each task of this stage; one task without labels unless a stage says otherwise.

        Where the stage follows another one (:attr:`each`), those of the tasks that come of the one labelled
        ``followed``, besides its labels: none where that is not to be followed.
        """
        return [{}]

    @classmethod
    def follows(cls, section: Any, every: Sequence[Labels]) -> Sequence[Labels]:
        """Return, of the labels of all tasks of the stage that this one follows, those that it follows: all of them."""
        return every

    @classmethod
    def programs(cls, settings: Any) -> Mapping[str, str]:
        """Return the versions of programs of this machine that the result is about, which are part of the hash.

        Most stages are about none.
        """
        return {}

    @classmethod
    def hashed(cls, labels: Labels) -> dict[str, LabelValue]:
        """Return the labels that are part of a task's hash."""
        return {label: labels[label] for label in cls.hashed_labels}

    @classmethod
    def settings_class(cls, values: Mapping[str, Any], labels: Labels) -> type[BaseSettings]:
        """Return the settings class of the labelled task; the stage's own unless it composes one per task.

        ``values`` are the settings, validated or as data: what is composed depends on nothing else in the recipe.
        """
        return cls.Settings

    @classmethod
    def select(cls, section: Any, labels: Labels) -> dict[str, Any]:
        """Return this stage's settings, as keyword arguments, from its validated section."""
        return {name: getattr(section, name) for name in cls.Settings.model_fields if name not in cls.reads}

    @classmethod
    def linked(cls, section: Any, labels: Labels) -> Mapping[str, Labels]:
        """Return, for inputs that come from a particular task, the labels by which that differs from this one.

        It may be an earlier task of the stage itself: one simulation that goes on from the end of another.
        """
        return {}

    @classmethod
    def files(cls, section: Any, labels: Labels) -> Mapping[str, str]:
        """Return further inputs, name to the dotted key of a file in the recipe, where recipes differ in these."""
        return {}

    @classmethod
    def check_files(cls, files: Mapping[str, Path], settings: Any) -> None:
        """Refuse the user's files, by the name of the input, that make the task fail for certain; nothing heavy.

        What takes longer than an instant is judged by the first stage, ``check``. Most stages refuse none.
        """
        return

    @classmethod
    def code(cls, files: Mapping[str, Path], settings: Any) -> tuple[Code, ...]:
        """Return the code that the recipe names for a task: a user's functions and classes, and interpreters.

        ``files`` are those of the user, by the name of the input. Nothing is imported. Most stages run no such code.
        """
        return ()

    @classmethod
    def notes(cls, settings: Any) -> tuple[str, ...]:
        """Return what the user should know before a task is done: licences that forbid something. Mostly nothing."""
        return ()

    @abstractmethod
    def run(self, inputs: Paths, settings: Any, job: Job) -> Summary:
        """Do the work and return its summary; every declared output must exist in ``job.out`` afterwards."""
