"""Weights files: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import GradientGuidedRegistrationLib
from GradientGuidedRegistrationLib.errors import InputError
from GradientGuidedRegistrationLib.model import NETWORKS, build_network, describe, load_weights, save_weights, weights

PACKAGE = Path(GradientGuidedRegistrationLib.__file__).parent


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "größe 1.pt"
    network = build_network("vm")
    save_weights(network, path, {"epochs": 3, "data": ["a", "b"], "dice": {"liver": 0.9}})
    return network, path


def rewritten(path, **changes):
    content = torch.load(path, weights_only=True)
    content.update(changes)
    torch.save(content, path)
    return content


@pytest.mark.parametrize("name", list(NETWORKS))
@pytest.mark.parametrize("backbone", ["b", "vm2"])
def test_round_trip(name, backbone, tmp_path):
    network = build_network(name, backbone=backbone)
    save_weights(network, tmp_path / "w.pt")
    loaded = load_weights(tmp_path / "w.pt", name=name)
    assert loaded.name == name and loaded.options == network.options and not loaded.training
    for one, other in zip(network.state_dict().values(), loaded.state_dict().values()):
        assert torch.equal(one, other)
    moving, fixed = torch.rand(2, 1, 1, 16, 16, 16)
    with torch.no_grad():
        assert torch.equal(loaded(moving, fixed).displacement, network(moving, fixed).displacement)


def test_describe_says_what_a_file_is(saved):
    _, path = saved
    description = describe(path)
    assert (description.network, description.parameters, description.version) == ("vm", 301_411, 1)
    assert description.metadata["dice"] == {"liver": 0.9} == load_weights(path).metadata["dice"]
    text = str(description)
    assert "301,411" in text and "vm" in text and "epochs: 3" in text and path.name in text


def test_coarse_passes_come_back(saved):
    network, path = saved
    network.coarse_passes = (4, 2)
    save_weights(network, path)
    assert load_weights(path).coarse_passes == (4, 2)


@pytest.mark.parametrize("passes", [[1], [0], [2.0], ["2"], [True], [1000], [2] * 9, (2,), None])
def test_refuses_passes_that_make_no_sense(saved, passes):
    _, path = saved
    rewritten(path, coarse_passes=passes)
    with pytest.raises(ValueError, match=f"{path.name}.*passes"):
        load_weights(path)


def test_refuses_weights_of_another_network(saved):
    _, path = saved
    with pytest.raises(ValueError, match=f"{path.name}.*'vm'.*'gated'"):
        load_weights(path, name="gated")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.999])
def test_refuses_a_truncated_file(saved, share):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    for read in (load_weights, describe):
        with pytest.raises(ValueError, match=path.name):
            read(path)


def test_refuses_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.pt", tmp_path):
        with pytest.raises(ValueError, match=path.name):
            load_weights(path)


class Malicious:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path):
    victim = tmp_path / "hacked"
    for number, write in enumerate((lambda value, path: torch.save(value, path), dump_pickle)):
        path = tmp_path / f"{number}.pt"
        write({"format": weights.FORMAT, "state": Malicious(str(victim))}, path)
        with pytest.raises(ValueError, match=f"{path.name}.*code"):
            load_weights(path)
    assert not victim.exists()


def dump_pickle(value, path):
    path.write_bytes(pickle.dumps(value))


@pytest.mark.parametrize("content", [b"\x89PNG\r\n", b"PK\x03\x04 not a zip", b"{}", os.urandom(1000)])
def test_refuses_other_files(tmp_path, content):
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=path.name):
        load_weights(path)


def test_refuses_checkpoints_of_other_programs_and_later_versions(saved, tmp_path):
    _, path = saved
    other = tmp_path / "other.pt"
    torch.save({"state_dict": {}}, other)
    with pytest.raises(ValueError, match="another program"):
        load_weights(other)
    for version in (99, -5, True):
        rewritten(path, version=version)
        with pytest.raises(ValueError, match=f"{path.name}.*version {version}"):
            load_weights(path)


def test_refuses_parameters_that_do_not_fit(saved):
    network, path = saved
    state = {name: value.clone() for name, value in network.state_dict().items()}
    first = next(iter(state))
    rewritten(path, state={**state, first: state[first][:, :1]})
    with pytest.raises(ValueError, match=rf"{path.name}.*{first}.*\(16, 1, 3, 3, 3\).*\(16, 2, 3, 3, 3\)"):
        load_weights(path)
    rewritten(path, state={name: value for name, value in state.items() if name != first})
    with pytest.raises(ValueError, match=f"{first}.*missing"):
        load_weights(path)
    rewritten(path, state={**state, first: state[first] * float("nan")})
    with pytest.raises(ValueError, match=f"{first}.*NaN"):
        load_weights(path)
    for value in (3, state[first].to("meta"), state[first].to_sparse(), state[first].bool(), state[first] + 0j):
        rewritten(path, state={**state, first: value})
        for read in (load_weights, describe):
            with pytest.raises(InputError, match=f"{path.name}.*{first}"):
                read(path)
    rewritten(path, state={**state, 1: state[first]})
    with pytest.raises(InputError, match=f"{path.name}.*state"):
        load_weights(path)


def test_refuses_damaged_entries_and_unknown_networks(saved):
    _, path = saved
    rewritten(path, network="transmorph")
    with pytest.raises(ValueError, match=f"{path.name}.*transmorph"):
        load_weights(path)
    rewritten(path, network="vm", options={"depth": 7})
    with pytest.raises(ValueError, match=f"{path.name}.*depth"):
        load_weights(path)
    for options in ({1: 2}, {"name": "gated"}, {"fusion": "nope"}):
        rewritten(path, network="gated", options=options)
        with pytest.raises(InputError, match=path.name):
            load_weights(path)
    rewritten(path, options=None)
    with pytest.raises(ValueError, match=f"{path.name}.*options"):
        load_weights(path)


def test_saving_refuses_what_it_could_not_read_back(tmp_path):
    network = build_network("vm")
    with pytest.raises(ValueError, match="metadata.*'path'.*PosixPath|metadata.*'path'.*WindowsPath"):
        save_weights(network, tmp_path / "w.pt", {"path": tmp_path})
    with pytest.raises(ValueError, match="build_network"):
        save_weights(torch.nn.Linear(2, 2), tmp_path / "w.pt")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_the_old_file_and_no_litter(saved, monkeypatch):
    network, path = saved
    before = path.read_bytes()

    def fail(content, file):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        save_weights(network, path)
    assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["gated", "vm"])
def test_loading_leaves_the_compiler_of_pytorch_alone(name, tmp_path):
    path = tmp_path / "weights.pt"
    save_weights(build_network(name), path)
    code = "import sys; from GradientGuidedRegistrationLib.model import load_weights; load_weights(sys.argv[1]); "
    code += "sys.exit(bool({'torch._dynamo', 'sympy'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    subprocess.run([sys.executable, "-c", code, str(path)], env=environment, check=True)
