"""A person's own unlearning functions, in the styles that there are, on a few small images."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_images import SPLITS, small_images

from random_mask.data.groups import group_numbers
from random_mask.data.settings import Data
from random_mask.data.splits import split_as_csv
from random_mask.errors import InputError
from random_mask.methods import catalogue
from random_mask.methods.own.function import Function, check, files_of, located
from random_mask.methods.own.samples import loaders
from random_mask.methods.own.unlearning import unlearn
from random_mask.methods.random_mask import RandomMask, draw_masks
from random_mask.training.fleet import Fleet, Step, fit_fleet, initial
from random_mask.training.images import Images
from random_mask.training.networks import NETWORKS

RESNET18 = NETWORKS["resnet18"]
STEP = """
def step(net, inputs, targets, optimizer):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(net(inputs), targets).backward()
    optimizer.step()
"""


@pytest.fixture(autouse=True)
def _as_before():
    torch.set_num_threads(1)
    path, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if getattr(sys.modules[name], "__file__", None) is None or "pytest-" in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


@pytest.fixture(scope="module")
def images() -> Images:
    return small_images(48)


@pytest.fixture(scope="module")
def original() -> dict[str, np.ndarray]:
    return initial(RESNET18, 4, seed=1)


@pytest.fixture
def run(tmp_path, images, original):
    """Return a function that writes a function into a file and unlearns models by it."""

    def _run(code: str, *models: int, name: str = "", arguments: dict | None = None, **more):
        file = tmp_path / "mine.py"
        file.write_text("import torch\n" + code)
        made = [
            unlearn(
                f"{file}{name}", model, images, SPLITS, role="mine/original-0", seed=7, network=RESNET18,
                original=original, arguments=arguments or {}, **more,
            )
            for model in models or [0]
        ]  # fmt: skip
        made = [(arrays, work) for arrays, work, _ in made]
        return made if models else made[0]

    return _run


def the_original(images, original) -> np.ndarray:
    """Return the logits of the original model on the forget set."""
    net = RESNET18.build(4, seed=0)
    net.load_state_dict({name: torch.from_numpy(array) for name, array in original.items()})
    with torch.no_grad():
        return net.eval()(images.inputs(torch.arange(24, 32)[None]))[None].numpy()


IN_PLACE = {
    "by key": """
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
def unlearning(net, retain_loader, forget_loader, val_loader):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for sample in retain_loader:
        step(net, sample["image"].to(DEVICE), sample["age_group"].to(DEVICE), optimizer)
    net.eval()
""",
    "pairs": """
def unlearning(net, retain, forget, validation):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for inputs, targets in retain:
        step(net, inputs, targets, optimizer)
    return net
""",
    "by other names": """
def unlearning(a, b, c, d, device):
    optimizer = torch.optim.SGD(a.parameters(), lr=0.01)
    for batch in b:
        step(a, batch[0].to(device), batch[1].to(device), optimizer)
""",
    "in another order": """
def unlearning(retain_loader, *, model, class_weights=None, param_names):
    assert param_names == [name for name, _ in model.named_parameters()] and "fc.bias" in param_names
    assert (6 * class_weights - 1).abs().max() < 1e-6
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for inputs, targets in retain_loader:
        step(model, inputs, targets, optimizer)
""",
    "a loader of its own": """
def unlearning(net, retain_loader, forget_loader, val_loader):
    again = torch.utils.data.DataLoader(
        torch.utils.data.Subset(retain_loader.dataset, range(24)), batch_size=64, shuffle=True
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for sample in again:
        step(net, sample["image"], sample["label"], optimizer)
""",
    "a copy, frozen and halved": """
import copy
def unlearning(net, retain_loader, forget_loader, val_loader):
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    for sample in retain_loader:
        step(net, sample["image"], sample["label"], optimizer)
    return net.requires_grad_(False)
""",
}  # fmt: skip


def test_the_same_done_in_any_style_is_the_same(run, images, original):
    outputs = {style: run(STEP + code) for style, code in IN_PLACE.items()}
    first = outputs["by key"][0]
    assert not np.allclose(first["logits_forget"], the_original(images, original), atol=1e-3)
    for style, (arrays, work) in outputs.items():
        np.testing.assert_array_equal(arrays["logits_forget"], first["logits_forget"], err_msg=style)
        assert (work.images, work.steps) == (24, 1), style


def test_what_is_saved_has_the_form_of_any_fleet(run, images, original):
    (arrays, work), (second, _) = run("def unlearning(net, retain, forget, val): pass", 3, 4)
    fleet = Fleet("mine", 7, RESNET18, lambda model: original, [], original=original)
    expected, works = fit_fleet(fleet, [3], images, SPLITS)
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        assert arrays[name].shape == array.shape
    np.testing.assert_allclose(arrays["logits_forget"], expected["logits_forget"], rtol=1e-4, atol=1e-5)
    assert (work.images, work.steps, work.flops) == (0, 0, works[0].flops)
    np.testing.assert_array_equal(arrays["logits_forget"], second["logits_forget"])


@pytest.mark.parametrize(
    ("code", "share"),
    [
        ("def unlearning(net, retain, forget, val):\n    net.fc = torch.nn.Linear(512, 4)", None),
        ("def unlearning(net, retain, forget, val):\n    return net.half()", 2e-2),
        ("def unlearning(net, retain, forget, val):\n    return net.bfloat16()", 5e-2),
        ("def unlearning(net, retain, forget, val):\n    net.fc.weight.data += 1e-5\n    return [1]", 2e-2),
        ("def unlearning(net, retain, forget, val):\n    net.train().requires_grad_(False)", 0),
    ],
    ids=["replaced layer", "half precision", "bfloat16", "returns something else", "left in training"],
)
def test_networks_are_judged_as_they_are_left(run, images, original, code, share):
    found, expected = run(code)[0]["logits_forget"], the_original(images, original)
    if share is None:
        assert not np.allclose(found, expected, atol=1e-2)
    else:
        np.testing.assert_allclose(found, expected, rtol=share, atol=share)
    assert found.dtype == np.float32


@pytest.mark.parametrize("batches", ["both", "dict", "pair"])
def test_batches(images, batches):
    made = loaders(images, SPLITS, batches, {"person_id": np.arange(48) // 4})
    assert {name: len(loader.dataset) for name, loader in made.items()} == {
        "retain": 24, "forget": 8, "validation": 8,
    }  # fmt: skip
    (batch,) = made["forget"]
    if batches != "pair":
        assert sorted(batch.keys()) == ["age_group", "image", "image_id", "label", "person_id"]
        assert batch["person_id"].tolist() == (batch["image_id"] // 4).tolist()
        image, numbers = batch["image"], batch["image_id"]
        assert sorted(numbers.tolist()) == list(range(24, 32))
        torch.testing.assert_close(image, images.inputs(numbers[None]).contiguous())
        assert batch["label"].tolist() == batch["age_group"].tolist() == images.labels[numbers].tolist()
        assert {**batch}.keys() == dict(batch).keys() == batch.keys()
    if batches != "dict":
        image, label = batch
        assert image.shape == (8, 3, 32, 32)
        assert label.tolist() == batch[1].tolist()
        image, label = made["forget"].dataset[0]
        assert label == images.labels[24]


def test_randomness_is_that_of_the_model(run):
    code = """
import random
import numpy as np
seen = []
def unlearning(net, retain, forget, val):
    seen.append(1)
    values = [torch.rand(1).item(), np.random.rand(), random.random(), len(seen)]
    with torch.no_grad():
        net.fc.bias.copy_(torch.tensor(values))
        net.fc.weight.zero_()
"""
    together, alone = run(code, 0, 1), run(code, 1)
    first, second = (arrays["logits_forget"][0, 0] for arrays, _ in together)
    np.testing.assert_array_equal(second, alone[0][0]["logits_forget"][0, 0])
    assert (first[:3] != second[:3]).all()
    assert first[3] == second[3] == 1  # not even the file's own state is shared


def test_teachers_are_counted_as_a_third_of_what_is_trained(run):
    code = """
import copy
def unlearning(net, retain, forget, val):
    teacher = copy.deepcopy(net).eval()
    for image, label in retain:
        with torch.no_grad():
            target = teacher(image)
        (net(image) - target).square().mean().backward()
"""
    assert run(code)[1].images == 24 + 8


def test_arguments(run, images, original):
    code = "def unlearning(net, retain, forget, val, scale, arguments=None, **more):\n"
    code += "    assert arguments == {'scale': 0.5, 'other': 1}\n"
    code += "    net.fc.weight.data *= scale\n    net.fc.bias.data *= scale"
    found = run(code, arguments={"scale": 0.5, "other": 1})[0]["logits_forget"]
    np.testing.assert_allclose(found, the_original(images, original) / 2, rtol=1e-4, atol=1e-5)


def test_local_modules_are_found_and_counted(run, tmp_path):
    (tmp_path / "helper.py").write_text("from parts.one import VALUE\n")
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "one.py").write_text("from . import two\nVALUE = two.VALUE\n")
    (tmp_path / "parts" / "two.py").write_text("VALUE = 3.0\n")
    code = "def unlearning(net, retain, forget, val):\n    from helper import VALUE\n"
    code += "    net.fc.weight.data.zero_(); net.fc.bias.data.fill_(VALUE)"
    assert run(code)[0]["logits_test"].max() == 3
    (tmp_path / "parts" / "two.py").write_text("VALUE = 44.0\n")
    assert run(code)[0]["logits_test"].max() == 44
    names = [path.relative_to(tmp_path).as_posix() for path in files_of(tmp_path / "mine.py")]
    assert names == ["helper.py", "mine.py", "parts/__init__.py", "parts/one.py", "parts/two.py"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def unlearning(net, retain, forget, val):\n    return 1 / 0", "3: ZeroDivisionError: division"),
        ("def unlearning(net, retain, forget, val):\n    net(torch.ones(2))", "3: RuntimeError: Expected"),
        ("def unlearning(net, retain, forget, val):\n    raise SystemExit(2)", "3: SystemExit: 2"),
        ("def unlearning(net retain):\n    pass", "2: SyntaxError: "),
        ("import no_such_module\ndef unlearning(net):\n    pass", "2: imports no_such_module; install it"),
        ("def unlearning(net):\n    import no_such", "3: ModuleNotFoundError: No module named"),
        ("async def unlearning(net):\n    pass", "2: unlearning is `async`, which nobody waits for;"),
        ("def unlearning(net):\n    return net, 1", "2: unlearning returns a tuple, and changed no weight;"),
        (
            "def wait(f):\n    return f\n@wait\nasync def unlearning(net):\n    pass",
            "5: unlearning is `async`, which nobody waits for;",
        ),
        ("def unlearning(net, retain, forget, val, lr):\n    pass", "2: unlearning asks for `lr`;"),
        ("def unlearning():\n    pass", "2: unlearning takes no network;"),
        (
            "def unlearning(net, retain, forget, val):\n    net.fc.bias.data += float('nan')",
            "2: unlearning leaves a network with NaN or infinite logits;",
        ),
        (
            "def unlearning(net, retain, forget, val):\n    net.fc = torch.nn.Linear(512, 5)",
            "2: unlearning leaves a network whose output is of the shape (24, 5), not logits [24, 4]",
        ),
        (
            "def unlearning(net, retain, forget, val):\n    return torch.nn.Linear(3, 4)",
            "2: unlearning leaves a network that fails on images (RuntimeError",
        ),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_the_line_of_the_code(run, code, said):
    with pytest.raises(InputError) as caught:
        run(code)
    first, *frames = str(caught.value).splitlines()
    assert "mine.py:" + said in first
    # Nothing but the person's own lines.
    assert all("mine.py" in frame for frame in frames)
    assert len(frames) <= 1


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("mine", "mine: names no function; write path/to/file.py, or path/to/file.py:name"),
        ("no.py", "no.py: no such file; correct the path of the function"),
        ("mine.py:other", "mine.py: has no function other; it has first; name one of them, as mine.py:first"),
        ("mine.py:Kind", "mine.py:2: Kind is no function; name one that takes a network"),
        ("mine.py:os", "mine.py:3: os is no function; name one that takes a network"),
        ("mine.py:number", "mine.py: number is no function; name one that takes a network"),
        ("none.py:other", "none.py: has no function other; define it"),
    ],
)
def test_what_is_no_function(tmp_path, monkeypatch, reference, said):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def first(net): pass\nclass Kind: pass\nimport os\nnumber = 3\n")
    Path("none.py").touch()
    with pytest.raises(InputError) as caught:
        Function(reference)
    assert str(caught.value) == said


def test_a_module_above_the_folder_is_not_one_of_its_files(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    (tmp_path / "helper.py").touch()
    (tmp_path / "inner" / "mine.py").write_text("from ..helper import x\nfrom ...far import y\n")
    assert files_of(tmp_path / "inner" / "mine.py") == [tmp_path / "inner" / "mine.py"]
    monkeypatch.chdir(tmp_path / "inner")
    assert files_of(Path("mine.py")) == [Path("mine.py")]


def test_a_function_by_its_name(tmp_path):
    assert located("a/b.py") == (Path("a/b.py"), "unlearning")
    assert located("a/b.py:mine") == (Path("a/b.py"), "mine")
    file = tmp_path / "mine.py"
    file.write_text("mine = lambda net: None\n")
    check(f"{file}:mine")
    Function(f"{file}:mine")


def test_unknown_arguments_are_refused(run):
    with pytest.raises(InputError, match="takes no `epochs`; remove it from `arguments`"):
        run("def unlearning(net, retain, forget, val): pass", arguments={"epochs": 2})


@pytest.mark.parametrize(
    ("head", "arguments", "said"),
    [
        ("net, retain, forget, val", {}, None),
        ("net, retain, forget, val, *, lr=0.1, **more", {"other": 1}, None),
        ("a, b, c, d, /, device, lr", {"lr": 1}, None),
        ("*loaders, model", {}, None),
        ("net, retain, forget, val, lr", {}, "mine.py:1: f asks for `lr`; give it a default, or a value"),
        ("net, lr=0.1", {"lrr": 3}, "mine.py:1: f takes no `lrr`; remove it"),
        ("retain, forget", {}, "mine.py:1: f takes no network; let its first parameter be one"),
    ],
)
def test_how_a_function_is_called_is_checked_without_running_it(tmp_path, monkeypatch, head, arguments, said):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(f"def f({head}): pass\nraise SystemExit\n")
    if said is None:
        check("mine.py:f", arguments)
    else:
        with pytest.raises(InputError, match=re.escape(said)):
            check("mine.py:f", arguments)


def test_a_function_may_go_to_another_folder(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "else").mkdir()
    run("import os\ndef unlearning(net, retain, forget, val):\n    os.chdir('else')")
    assert Path.cwd() == tmp_path


def test_random_mask_as_a_function_is_the_method(run, tmp_path, images, original):
    """Given the same masks and the same order of images, it differs by rounding."""
    mask = RandomMask(name="random_mask", ratio=0.3, spare="published")
    recipe, loss = catalogue.recipe_and_loss(
        {
            **{"epochs": 2, "batch": 8, "optimizer": "adam", "learning_rate": 1e-3},
            "objective": {"name": "cross_entropy"},
        }
    )
    masks = draw_masks(original, mask, np.random.default_rng(3))
    fleet = Fleet(
        "m", 7, RESNET18, lambda model: original, [Step([(recipe, loss)], mask)], lambda model, step: masks
    )
    expected, (of_method,) = fit_fleet(fleet, [0], images, SPLITS)
    rng = fleet.rng(0, "order")
    np.savez(tmp_path / "masks.npz", **masks)
    np.save(tmp_path / "orders.npy", np.stack([rng.permutation(24) for _ in range(2)]))
    code = """
import numpy as np
from pathlib import Path
folder = Path(__file__).parent
def unlearning(net, retain_loader, forget_loader, val_loader):
    with torch.no_grad(), np.load(folder / "masks.npz") as masks:
        for name, weight in net.named_parameters():
            if "bn" not in name:
                weight.mul_(torch.from_numpy(masks[name]))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6)
    for order in np.load(folder / "orders.npy"):
        for chosen in order.reshape(3, 8):
            pairs = [retain_loader.dataset[i] for i in chosen]
            step(net, torch.stack([x for x, _ in pairs]), torch.tensor([y for _, y in pairs]), optimizer)
            schedule.step()
"""
    arrays, work = run(STEP + code)
    assert (work.images, work.steps) == (of_method.images, of_method.steps)
    assert work == of_method
    np.testing.assert_allclose(arrays["logits_forget"], expected["logits_forget"], rtol=2e-2, atol=2e-2)


def test_persons_are_numbered(tmp_path):
    table = tmp_path / "split.csv"
    parts = {
        "retain": np.arange(2),
        "forget": np.array([2]),
        "validation": np.array([3]),
        "test": np.array([4]),
    }
    names = [f"train/a/{name}.png" for name in "zyxwv"]
    table.write_text(split_as_csv(parts, np.zeros(5, int), names))
    (tmp_path / "groups.csv").write_text(
        "file,group\n" + "".join(f"{name},p{i % 2}\n" for i, name in enumerate(names))
    )
    data = Data(
        name="image_folder", path="x", groups=str(tmp_path / "groups.csv"), train=3, validation=1, test=1,
        forget={"kind": "random", "size": 1},
    )  # fmt: skip
    assert group_numbers(data, table).tolist() == [0, 1, 0, 1, 0]
    # The same table, as people type them.
    (tmp_path / "groups.csv").write_text(
        "age, file, group\n" + "".join(f"7, {name} , p{i % 2} \n" for i, name in enumerate(names))
    )
    assert group_numbers(data, table).tolist() == [0, 1, 0, 1, 0]
    faces = [f"WBackground/1/CLKJ_{i:04d}/real.rssdk/color/1.jpg" for i in (7, 3, 7, 9, 3)]
    table.write_text(split_as_csv(parts, np.zeros(5, int), faces))
    persons = group_numbers(data.model_copy(update={"name": "casia_surf", "groups": None}), table)
    assert persons.tolist() == [1, 0, 1, 2, 0]
    assert group_numbers(data.model_copy(update={"groups": None}), table) is None
