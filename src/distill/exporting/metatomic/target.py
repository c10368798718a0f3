"""metatomic as a program that students are exported to: one file for the many programs that read it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from distill.base.conventions import Precision
from distill.exporting.program import README, Program
from distill.exporting.target import Wanted

if TYPE_CHECKING:
    from distill.exporting.certificate import Session
    from distill.potentials.interface.potential import Potential


class Metatomic(Program):
    """metatomic's file of a model, TorchScript: PaiNN and TensorNet students."""

    title = "metatomic"
    main = "model.pt"
    architectures = ("painn", "tensornet")
    requires = ("metatomic-torch",)
    engines = ("metatomic-torch", "metatomic-ase", "torch")
    install = 'pip install "mlip-distill[metatomic]"'
    licence = "metatomic is BSD-3-Clause."
    usage = """[The engines of metatomic](https://docs.metatensor.org/metatomic/latest/engines/) read `model.pt` alone.
In ASE:

```python
from metatomic_ase import MetatomicCalculator

atoms.calc = MetatomicCalculator("model.pt")
```

In LAMMPS with its `pair_style metatomic`, the numbers being the elements of your atom types:

```
pair_style metatomic model.pt
pair_coeff * * 14
```"""

    def check(self, potential: Potential, wanted: Wanted) -> None:
        """Refuse students that are not traced, and a machine without metatomic."""
        from distill.base.errors import UserError
        from distill.potentials import POTENTIALS

        if potential.architecture not in self.architectures:
            raise UserError(
                f"metatomic takes {' and '.join(self.architectures)} students alone",
                f"potential {potential.architecture}",
                "Leave metatomic out, or export another student",
            )
        self.check_row(POTENTIALS[potential.architecture])
        super().check(potential, wanted)

    def write(self, potential: Potential, folder: Path, wanted: Wanted) -> list[Path]:
        """Write the file of the model and a README."""
        from distill.base.files import replacing
        from distill.exporting.metatomic.model import atomistic_model

        written = super().write(potential, folder, wanted)
        with replacing(folder / self.main) as temporary:
            atomistic_model(potential, wanted.precision, wanted.safety).save(temporary)
        return [folder / self.main, *(path for path in written if path.name == README)]

    def texts(self, wanted: Wanted) -> dict[str, str]:
        """Return nothing: the file of the model is all that engines read."""
        return {}

    def session(self, folder: Path, precision: Precision) -> Session:
        """Return metatomic's own calculator for ASE with the file, which checks at each call what the file says of
        itself.
        """
        from metatomic_ase import MetatomicCalculator

        from distill.exporting.calculator_session import CalculatorSession

        return CalculatorSession(MetatomicCalculator(folder / self.main, check_consistency=True, device="cpu"))
