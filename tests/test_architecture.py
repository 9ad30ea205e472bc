"""The import rules, checked instead of remembered."""

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rm.imports import imported, reached, source

ROOT = Path(__file__).parents[1]
ORDER = (
    {"rm.errors"},
    {"rm.files", "rm.section", "rm.progress", "rm.locations"},
    {"rm.imports", "rm.parquet", "rm.manifests", "rm.storage"},
    {"rm.engine"},
    {"rm.stats", "rm.model", "rm.copies"},
    {"rm.data", "rm.features", "rm.edits"},
    {"rm.tokens"},
    {"rm.remedies", "rm.score"},
    {"rm.train"},
    {"rm.probes"},
    {"rm.audit", "rm.origins"},
    {"rm.gate", "rm.benchmarks", "rm.variants"},
    {"rm.labels"},
    {"rm.pipeline", "rm.selftest"},
    {"rm.report"},
    {"rm.standalone", "rm.challengers", "rm.ledger"},
    {"tasks"},
    {"flows"},
    {"flows.cli"},
)
"""Rooms from left to right: each may import itself and those of the sets before its own; all may import `rm` itself."""
CORE = ("rm.model.reward_model", "rm.model.export", "rm.model.batch_layout", "rm.train.step", "rm.score.scorer")
"""What trains and scores from token ids needs torch and transformers, and none of the pipeline's libraries."""
PIPELINE_LIBRARIES = ("pydantic", "deltalake", "pyarrow", "datasets", "prefect", "mlflow", "peft")
SOURCES = sorted(path for package in ("rm", "tasks", "flows") for path in (ROOT / package).rglob("*.py"))


def relative(path):
    return path.relative_to(ROOT).as_posix()


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room(module):
    """The room of ORDER that a module belongs to; None for `rm` itself and other people's modules."""
    rooms = [name for names in ORDER for name in names if module == name or module.startswith(f"{name}.")]
    return max(rooms, key=len, default=None)


def rank(name):
    return next(place for place, names in enumerate(ORDER) if name in names)


def forbidden(path):
    """Imports of a file that point to the right, or to the other side of its own place in the order."""
    own = room(module_of(path))
    found = {name for name in imported(path) if room(name) not in {None, own} and source_of(name)}
    return {name for name in found if rank(room(name)) >= rank(own)} if own else found


def source_of(name):
    return source(name, ROOT) or source(name.rpartition(".")[0], ROOT)


def test_imports_point_to_the_left():
    found = {relative(path): forbidden(path) for path in SOURCES}
    assert {path: names for path, names in found.items() if names} == {}


def test_every_module_has_a_room():
    assert [module_of(path) for path in SOURCES if not room(module_of(path))] == ["rm"]


def test_few_modules_lie_beside_the_packages():
    assert {path.name for path in (ROOT / "rm").glob("*.py")} == {
        "__init__.py",
        "copies.py",
        "errors.py",
        "files.py",
        "imports.py",
        "locations.py",
        "manifests.py",
        "parquet.py",
        "progress.py",
        "section.py",
        "storage.py",
    }


def test_packages_say_what_lives_in_them_and_hold_no_code():
    packages = [path for path in SOURCES if path.name == "__init__.py"]
    assert [relative(path) for path in packages if not path.read_text(encoding="utf-8").startswith('"""')] == []
    # Two set the environment that Prefect reads.
    assert {module_of(path) for path in packages if imported(path)} == {"tasks", "flows"}


def test_library_knows_no_orchestrator_and_no_environment():
    library = [path for path in SOURCES if relative(path).startswith("rm/")]
    named = {relative(path): {name.partition(".")[0] for name in imported(path)} for path in library}
    assert [path for path, names in named.items() if names & {"prefect", "mlflow", "tasks", "flows"}] == []
    # Azure's account, since Arrow looks for the others' credentials itself; and torchrun's own variable.
    reading = {relative(path) for path in library if "os.environ" in path.read_text(encoding="utf-8")}
    assert reading == {"rm/storage.py", "rm/train/worker.py"}


def test_mlflow_is_imported_in_few_places_only():
    importers = {relative(path) for path in SOURCES if "mlflow" in {name.partition(".")[0] for name in imported(path)}}
    names = ("databases", "tracking", "registry", "versions", "orphans", "promotion", "serving")
    assert importers == {f"tasks/{name}.py" for name in names}


def test_importing_the_library_loads_nothing_heavy():
    code = "import sys, rm; print(*sorted({'torch', 'transformers', 'prefect', 'mlflow'} & set(sys.modules)))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.split() == []


def test_a_recipe_is_read_without_a_numeric_library():
    """So that a misspelt key is told within a second."""
    paths = [source(name, ROOT) for name in reached("rm.pipeline.config", ROOT)]
    named = {name.partition(".")[0] for path in paths for name in imported(path)}
    assert "pydantic" in named  # the modules were found at all
    assert not named & {"numpy", "scipy", "torch", "transformers", "pyarrow", "datasets"}


def test_a_ledger_is_built_without_a_library_that_takes_long_to_import():
    """A run that is repeated builds it again to know its alerts."""
    paths = [source(name, ROOT) for name in reached("rm.ledger.building", ROOT)]
    named = {name.partition(".")[0] for path in paths for name in imported(path)}
    assert "numpy" in named  # the modules were found at all
    assert not named & {"scipy", "sklearn", "jinja2", "matplotlib", "emoji", "pyarrow", "torch"}


@pytest.mark.parametrize("module", CORE)
def test_the_core_reaches_no_library_of_the_pipeline(module):
    paths = [source(name, ROOT) for name in reached(module, ROOT)]
    named = {name.partition(".")[0] for path in paths for name in imported(path)}
    assert "torch" in named  # the modules were found at all
    assert not named & set(PIPELINE_LIBRARIES)


def test_a_training_step_is_taken_where_the_libraries_of_the_pipeline_cannot_be_imported():
    code = f"""
    import sys

    sys.modules |= dict.fromkeys({PIPELINE_LIBRARIES!r})
    from types import SimpleNamespace
    import torch
    from transformers import AutoModel, LlamaConfig
    from rm.data.preferences import Comparison
    from rm.model import batch_layout
    from rm.model.reward_model import with_new_heads
    from rm.tokens.items import TokenizedPrompt
    from rm.train import batching, distributed
    from rm.train.objective import Objective
    from rm.train.step import Stepper

    pair = dict(preference=1.0, target_margin=0.0, weight=1.0, num_judgements=1)
    prompts = [
        TokenizedPrompt(
            prompt_id=str(number), prompt_ids=[20, 21, 22 + number], response_ids=[[30, 2], [31, 32, 2]],
            comparisons=[Comparison(first=0, second=1, **pair)], response_attributes=[{{}}, {{}}],
            response_indices=[0, 1],
        )
        for number in range(4)
    ]
    sizes = dict(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    settings = SimpleNamespace(
        learning_rate=1e-2, warmup_share=0.0, max_grad_norm=1.0, centering=0.0, attribute_weight=1.0,
        precision="float32", router_aux=0.0, seed=0,
        remedies=SimpleNamespace(controlled=()),
    )
    torch.manual_seed(0)
    model = with_new_heads(AutoModel.from_config(LlamaConfig(**sizes, pad_token_id=0)), pad_token_id=0, seed=0)
    layout = batch_layout.choose(model, 32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    world = distributed.World()
    stepper = Stepper(model, optimizer, settings, layout, Objective(settings, prompts), prompts, 8, 64, world)
    steps = [stepper.take(step, batching.all_pairs(batching.count_pairs(prompts))) for step in range(1, 9)]
    assert layout.packed and steps[-1].loss < steps[0].loss, steps
    print(f"{{steps[0].loss:.4f}} to {{steps[-1].loss:.4f}}")
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stderr
    assert re.fullmatch(r"\d\.\d{4} to \d\.\d{4}\n", ran.stdout)


def test_the_imports_of_a_planted_file_are_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("import numpy as np\ndef late():\n    from prefect.events import emit_event\n")
    assert imported(planted) == {"numpy", "prefect.events", "prefect.events.emit_event"}


def test_the_imports_of_a_file_are_those_of_all_its_nodes():
    for path in SOURCES:
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        named |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        assert named <= imported(path), relative(path)


def test_imports_are_found_in_every_kind_of_block(tmp_path):
    blocks = ["if x:\n {}\nelse:\n {}", "try:\n {}\nexcept E:\n {}\nelse:\n {}\nfinally:\n {}"]
    blocks += [
        "for x in y:\n {}\nelse:\n {}",
        "with x:\n {}",
        "match x:\n case 1:\n  {}",
        "class A:\n def b(self):\n  {}",
    ]
    blocks += ["while x:\n async def f():\n  async with y:\n   {}"]
    planted = tmp_path / "planted.py"
    for block in blocks:
        names = [f"name{number}" for number in range(block.count("{}"))]
        planted.write_text(block.format(*(f"import {name}" for name in names)))
        imported.cache_clear()
        assert imported(planted) == set(names)


def test_a_planted_import_to_the_right_is_found(tmp_path, monkeypatch):
    planted = tmp_path / "rm" / "stats" / "planted.py"
    planted.parent.mkdir(parents=True)
    planted.write_text("def late():\n    from rm.data import store\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "rm" / "data").mkdir()
    (tmp_path / "rm" / "data" / "store.py").touch()
    assert forbidden(planted) == {"rm.data.store"}
