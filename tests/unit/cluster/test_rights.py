"""What a run needs, what is missing, and that the printed Role gives just that."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest
import yaml

from fake_cluster import FakeApi, refusal
from podtrace.cluster.rights import (
    Right,
    allowed_rights,
    choice_rights,
    convenience_rights,
    job_rights,
    missing_rights_error,
    role_text,
    run_rights,
)
from podtrace.errors import ClusterError


def objects(text: str) -> list[Any]:
    """Return the objects of a text that was copied with the indentation that it is shown with."""
    items: list[Any] = yaml.safe_load(textwrap.indent(text, "  "))["items"]
    return items


def granted(text: str) -> set[str]:
    """Return what the Roles in a text allow, as `verb group/resource namespace`."""
    found = set()
    for item in objects(text):
        if item["kind"] == "Role":
            for rule in item["rules"]:
                found |= {
                    f"{verb} {group}/{resource} {item['metadata']['namespace']}"
                    for group in rule["apiGroups"]
                    for resource in rule["resources"]
                    for verb in rule["verbs"]
                }
    return found


def bindings(text: str) -> list[Any]:
    return [item for item in objects(text) if item["kind"] == "RoleBinding"]


def test_smallest_role_is_that_of_a_bare_pod() -> None:
    assert granted(role_text("shop", with_jobs=False)) == {
        "get /pods shop",
        "create /pods shop",
        "delete /pods shop",
        "get /pods/log shop",
    }


def test_metrics_take_two_rights_more() -> None:
    more = granted(role_text("shop", with_metrics=True)) - granted(role_text("shop"))
    assert more == {"get /pods/portforward shop", "create /pods/portforward shop"}


def test_jobs_take_four_rights_more() -> None:
    more = granted(role_text("shop")) - granted(role_text("shop", with_jobs=False))
    assert more == {
        "create batch/jobs shop",
        "get batch/jobs shop",
        "delete batch/jobs shop",
        "list /pods shop",
    }


def test_namespace_of_the_tracer_gets_a_role_of_its_own() -> None:
    text = role_text("shop", tracer_namespace="tracers", with_jobs=False)
    assert granted(text) == {
        "get /pods shop",
        "get /pods tracers",
        "create /pods tracers",
        "delete /pods tracers",
        "get /pods/log tracers",
    }
    assert [item["metadata"]["namespace"] for item in bindings(text)] == ["shop", "tracers"]


def test_role_allows_what_it_was_made_from() -> None:
    rights = [*run_rights("shop"), *job_rights("shop"), *choice_rights("shop")]
    wanted = {f"{right.verb} {right.group}/{right.resource} shop" for right in rights}
    assert granted(role_text("shop", with_choice=True)) == wanted


@pytest.mark.parametrize(
    ("user", "subject", "name"),
    [
        (
            "Jane@Acme.com",
            {"kind": "User", "name": "Jane@Acme.com", "apiGroup": "rbac.authorization.k8s.io"},
            "podtrace-jane-acme.com",
        ),
        (
            'x", kind: [',
            {"kind": "User", "name": 'x", kind: [', "apiGroup": "rbac.authorization.k8s.io"},
            "podtrace-x-kind",
        ),
        (
            "system:serviceaccount:ci:robot",
            {"kind": "ServiceAccount", "name": "robot", "namespace": "ci"},
            "podtrace-system-serviceaccount-ci-robot",
        ),
    ],
)
def test_binding_is_for_the_user(user: str, subject: dict[str, str], name: str) -> None:
    (binding,) = bindings(role_text("shop", user=user))
    assert binding["subjects"] == [subject]
    assert binding["metadata"]["name"] == name
    assert binding["roleRef"]["name"] == "podtrace"


def test_namespace_that_looks_like_a_number_stays_a_name() -> None:
    (binding,) = bindings(role_text("007"))
    assert binding["metadata"]["namespace"] == "007"


def test_every_right_is_asked_for_once() -> None:
    api = FakeApi()
    api.deny("create", "jobs", "shop")
    api.deny("get", "pods/log", "shop")
    rights = [*run_rights("shop"), *job_rights("shop"), *run_rights("shop")]
    answers = allowed_rights(api, rights + convenience_rights("shop"))
    assert {str(right) for right, allowed in answers.items() if not allowed} == {
        "create jobs in namespace shop",
        "get pods/log in namespace shop",
    }
    assert answers[Right("get", "nodes", None)]


def test_missing_rights_are_named_with_the_role_that_has_them() -> None:
    api = FakeApi()
    api.deny("create", "pods", "tracers")
    api.deny("delete", "pods", "tracers")
    error = missing_rights_error(api, "shop", tracer_namespace="tracers")
    assert error.message == (
        "you may not create pods in namespace tracers, delete pods in namespace tracers"
    )
    text = "\n".join(error.details)
    assert "create /pods tracers" in granted(text)
    assert bindings(text)[0]["subjects"][0]["name"] == "jane"
    assert error.hint


def test_refusal_of_something_else_stays_in_the_cluster_s_words() -> None:
    said = refusal(403, "Forbidden", 'services "x" is forbidden: User "jane" cannot get')
    error = missing_rights_error(FakeApi(), "shop", said)
    assert error.message == said.message
    assert "get /services shop" in granted("\n".join(error.details))


def test_cluster_that_does_not_say_who_may_what_still_gets_a_role() -> None:
    api = FakeApi()
    api.fail("POST", ".*", ClusterError("away", "wait"))
    error = missing_rights_error(api, "shop")
    assert error.message == "you lack a right in namespace shop"
    assert bindings("\n".join(error.details))[0]["subjects"][0]["name"] == "USER"


def test_who_asked_for_a_workload_is_given_the_rights_for_workloads_at_once() -> None:
    api = FakeApi()
    api.deny("create", "pods", "shop")
    said = refusal(403, "Forbidden", 'deployments.apps "x" is forbidden: User "jane" cannot get')
    text = "\n".join(missing_rights_error(api, "shop", said).details[1:])
    assert "get apps/deployments shop" in granted(text)
