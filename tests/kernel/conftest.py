"""What tests that trace for real share: the stage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.members import MEMBER, OUTSIDER, Installation, User
from workload.stage import Stage, StageError, compile_c

# So that a failed assertion outside of test modules shows its numbers too.
pytest.register_assert_rewrite("kernel.exact_checks", "kernel.truths")


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="module")
def module_stage() -> Iterator[Stage]:
    with Stage() as stage:
        yield stage


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the compiled rate generators."""
    folder = tmp_path_factory.mktemp("rates")
    try:
        for source in ("syscall_rate.c", "network_rate.c"):
            compile_c(source, folder)
    except StageError as error:
        pytest.skip(str(error))
    return folder


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    made = Installation.make("test")
    yield made
    assert made.run("undo").returncode == 0


@pytest.fixture(scope="session")
def member(installation: Installation) -> Iterator[User]:
    user = User(installation, MEMBER, [installation.gid])
    yield user
    user.close()


@pytest.fixture(scope="session")
def outsider(installation: Installation) -> Iterator[User]:
    user = User(installation, OUTSIDER)
    yield user
    user.close()
