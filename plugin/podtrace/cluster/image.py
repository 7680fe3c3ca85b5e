"""Which image the tracer pod runs.

A release knows the registry that carries its images. A build from source does not: then the image
has to be built, brought to the nodes and named, and the error says with which commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from podtrace.errors import LaunchError
from podtrace.wire.version import VERSION

REPOSITORY = ""
"""Registry and path that carry the released images; set when a release is built."""

NAME = "podtrace-tracer"
VARIABLE = "PODTRACE_TRACER_IMAGE"

LOADING = (
    "to a kind cluster:        kind load image-archive FILE.tar",
    "to minikube:              minikube image load FILE.tar",
    "to a node by containerd:  ctr -n k8s.io images import FILE.tar",
)
"""How an image in a file comes to nodes that reach no registry."""


def tracer_image(option: str | None, environment: Mapping[str, str]) -> str:
    """Return the image reference: of --tracer-image, else of the environment, else of the release.

    Raises:
        LaunchError: this is a build from source, and no image was named.
    """
    named = option or environment.get(VARIABLE, "")
    if named:
        return named
    if REPOSITORY:
        return f"{REPOSITORY.rstrip('/')}/{NAME}:{VERSION}"
    image = f"{NAME}:{VERSION}"
    raise LaunchError(
        "no tracer image: this podtrace was built from source and knows no registry",
        f"build an image, bring it to the nodes, then name it with --tracer-image or {VARIABLE}",
        (
            f"build it:                 make image OUTPUT=FILE.tar    (makes {image})",
            *LOADING,
            f"to a registry:            docker tag {image} REGISTRY/{image}, docker push "
            f"REGISTRY/{image}",
            f"then:                     kubectl podtrace POD --tracer-image {image}",
        ),
    )
