from __future__ import annotations

from pathlib import Path

import pytest

from podtracer.pod_tree import PodTree, is_pod_folder

UID = "6c6b1d2e-aa00-4ef0-bd8c-000000000001"
UNIT = UID.replace("-", "_")
STATIC = "0123456789abcdef0123456789abcdef"


def tree(root: Path) -> PodTree:
    return PodTree(str(root))


@pytest.mark.parametrize(
    "path",
    [
        f"kubepods/pod{UID}",
        f"kubepods/burstable/pod{UID}",
        f"kubepods/besteffort/pod{UID}",
        f"kubepods.slice/kubepods-pod{UNIT}.slice",
        f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UNIT}.slice",
    ],
)
def test_pod_is_found_where_kubelets_put_it(tmp_path: Path, path: str) -> None:
    (tmp_path / path).mkdir(parents=True)
    assert tree(tmp_path).find(UID) == str(tmp_path / path)


@pytest.mark.parametrize(
    "path",
    [
        f"node-a/inner/kubepods/burstable/pod{UID}",
        f"kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UNIT}.slice",
        f"elsewhere/pod{UID}",
    ],
)
def test_pod_below_a_root_of_its_own_is_found_by_searching(tmp_path: Path, path: str) -> None:
    (tmp_path / path).mkdir(parents=True)
    pods = tree(tmp_path)
    assert pods.find(UID) is None
    pods.search([UID])
    assert pods.find(UID) == str(tmp_path / path)


def test_places_of_another_kubelet_are_known_after_a_search(tmp_path: Path) -> None:
    quality = tmp_path / "node-a" / "kubepods" / "besteffort"
    quality.mkdir(parents=True)
    pods = tree(tmp_path)
    assert pods.bases == []
    pods.search([])
    assert pods.bases == [str(tmp_path / "node-a" / "kubepods")]
    assert set(pods.parents) == {str(quality.parent), str(quality)}
    (quality / f"pod{UID}").mkdir()
    assert pods.find(UID) == str(quality / f"pod{UID}")


def test_pod_that_went_and_came_back_elsewhere_is_found_again(tmp_path: Path) -> None:
    first = tmp_path / "kubepods" / "burstable" / f"pod{UID}"
    first.mkdir(parents=True)
    pods = tree(tmp_path)
    assert pods.find(UID) == str(first)
    first.rmdir()
    assert pods.find(UID) is None
    second = tmp_path / "kubepods" / f"pod{UID}"
    second.mkdir()
    assert pods.find(UID) == str(second)


def test_static_pods_are_named_by_their_hash() -> None:
    assert is_pod_folder(f"pod{STATIC}", STATIC)
    assert is_pod_folder(f"kubepods-pod{STATIC}.slice", STATIC)
    assert not is_pod_folder(f"pod{STATIC}", UID)
    assert not is_pod_folder(f"kubepods-pod{STATIC}0.slice", STATIC)
    assert not is_pod_folder(f"xpod{UID}", UID)
