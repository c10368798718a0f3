"""The stages of the pipeline, in its order. Adding a stage is one file and one line here."""

from __future__ import annotations

from distill.base.registry import Registry

STAGES = Registry(
    "stage",
    {
        "check": "distill.stages.check:Check",
        "finetune": "distill.stages.finetune:Finetune",
        "ensemble": "distill.stages.ensemble:Ensemble",
        "generate": "distill.stages.generate:Generate",
        "label": "distill.stages.label:Label",
        "train": "distill.stages.train:Train",
        "predict": "distill.stages.predict:Predict",
        "unseen": "distill.stages.unseen:Unseen",
        "timing": "distill.stages.timing:Timing",
        "evaluate": "distill.stages.evaluate:Evaluate",
        "simulate": "distill.stages.simulate:Simulate",
        "dynamics": "distill.stages.dynamics:Dynamics",
        "observe": "distill.stages.observe:Observe",
        "relabel": "distill.stages.relabel:Relabel",
        "judge": "distill.stages.judge:Judge",
        "gate": "distill.stages.gate:Gate",
        "write": "distill.stages.write:Write",
        "certify": "distill.stages.certify:Certify",
        "benchmark": "distill.stages.benchmark:Benchmark",
        "card": "distill.stages.card:Card",
        "report": "distill.stages.report:Report",
    },
)
