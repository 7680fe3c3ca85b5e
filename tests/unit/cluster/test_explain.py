from __future__ import annotations

import pytest

from fake_cluster import refusal as refused
from launching import settings
from podtrace.cluster import explain
from podtrace.errors import LaunchError

POD_SECURITY = (
    'pods "podtrace-1-1" is forbidden: violates PodSecurity "restricted:latest": host namespaces '
    '(hostPID=true), privileged (container "tracer" must not set securityContext.privileged=true)'
)


def explained(text: str, status: int = 403, **changes: object) -> LaunchError:
    return explain.refusal(refused(status, "Forbidden", text), settings(**changes))


@pytest.mark.parametrize("profile", ["privileged", "capabilities"])
def test_pod_security_names_the_label_and_the_way_round(profile: str) -> None:
    error = explained(POD_SECURITY, profile=profile)
    assert "Pod Security level restricted" in error.message
    assert "--tracer-namespace" in (error.hint or "")
    text = "\n".join(error.details)
    label = "kubectl label --overwrite ns shop pod-security.kubernetes.io/enforce=privileged"
    assert label in text
    assert "hostPID=true" in text
    assert ("needs this too" in text) == (profile == "capabilities")


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        (
            'pods "x" is forbidden: exceeded quota: team, requested: limits.memory=256Mi, used: '
            "limits.memory=900Mi, limited: limits.memory=1Gi",
            "quota team of namespace shop leaves no room for the tracer pod: it asks for "
            "limits.memory=256Mi; used is limits.memory=900Mi of limits.memory=1Gi",
            "--patch",
        ),
        (
            'pods "x" is forbidden: failed quota: team: must specify limits.cpu for: tracer',
            "wants the tracer pod to say its limits.cpu",
            '"/spec/containers/0/resources/limits/cpu", "value": "500m"',
        ),
        (
            'pods "x" is forbidden: [minimum cpu usage per Container is 100m, but request is 10m, '
            "maximum memory usage per Container is 128Mi, but limit is 256Mi]",
            "refuses the tracer pod: minimum cpu usage per Container is 100m",
            "--patch",
        ),
        (
            'pods "x" is forbidden: memory max limit to request ratio per Container is 2, but '
            "provided ratio is 4.000000",
            "a LimitRange of namespace shop",
            "--tracer-namespace",
        ),
        (
            'admission webhook "policy.example.test" denied the request: no privileged pods',
            "admission webhook policy.example.test",
            "exemption",
        ),
        (
            "pods \"x\" is forbidden: ValidatingAdmissionPolicy 'no-host-pid' with binding 'b' "
            "denied request: failed expression",
            "policy no-host-pid",
            "exemption",
        ),
        (
            'Internal error occurred: failed calling webhook "policy.example.test": failed to call '
            "webhook: Post: connection refused",
            "cannot ask its admission webhook policy.example.test",
            "repair the webhook",
        ),
        (
            'pods "x" is forbidden: error looking up service account shop/default: serviceaccount '
            '"default" not found',
            "no service account default",
            "kubectl get serviceaccounts -n shop",
        ),
        (
            'pods "x" is forbidden: unable to create new content in namespace shop because it is '
            "being terminated",
            "namespace shop is being deleted",
            "--tracer-namespace",
        ),
        ("something new", "refused in namespace shop: something new", "--dry-run=client"),
    ],
)
def test_each_refusal_is_explained_in_the_servers_words_and_ours(
    text: str, message: str, hint: str
) -> None:
    error = explained(text)
    assert message in error.message
    assert hint in (error.hint or "")
    assert text in error.message or text in "\n".join(error.details)


def test_a_namespace_that_is_not_there() -> None:
    error = explained('namespaces "shop" not found', 404)
    assert "there is no namespace shop" in error.message
    assert "kubectl create namespace shop" in (error.hint or "")


def test_a_missing_right_is_told_from_a_refusal() -> None:
    rbac = 'pods is forbidden: User "jane" cannot create resource "pods" in API group ""'
    assert explain.is_missing_right(refused(403, "Forbidden", rbac))
    assert not explain.is_missing_right(refused(403, "Forbidden", POD_SECURITY))
    assert not explain.is_missing_right(refused(500, "", rbac))


def test_a_namespace_that_is_just_made_is_told_from_one_without_account() -> None:
    text = 'error looking up service account shop/default: serviceaccount "default" not found'
    assert explain.is_early(refused(403, "Forbidden", text))
    assert not explain.is_early(refused(403, "Forbidden", POD_SECURITY))
