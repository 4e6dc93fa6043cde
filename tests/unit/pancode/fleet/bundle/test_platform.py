"""Wheels and requirements are judged by the node's Python, machine and C library."""

from __future__ import annotations

import pytest

from pancode.fleet.bundle.platform import NodePlatform, is_required

NODE = NodePlatform((3, 12, 4), "x86_64", (2, 31))


@pytest.mark.parametrize(
    ("tag", "answer"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp312-cp312-manylinux_2_17_x86_64", True),
        ("cp312-cp312-manylinux2014_x86_64", True),
        ("cp312-cp312-manylinux_2_34_x86_64", False),
        ("cp312-cp312-manylinux_2_17_aarch64", False),
        ("cp311-cp311-manylinux_2_17_x86_64", False),
        ("cp313-cp313-manylinux_2_17_x86_64", False),
        ("cp312-cp312t-manylinux_2_17_x86_64", False),
        ("cp39-abi3-manylinux_2_28_x86_64", True),
        ("cp313-abi3-manylinux_2_28_x86_64", False),
        ("cp312-cp312-musllinux_1_2_x86_64", False),
        ("cp312-cp312-linux_x86_64", False),
        ("cp312-none-any", True),
        ("py2-none-any", False),
        ("nonsense", False),
    ],
)
def test_tags(tag: str, answer: bool) -> None:
    assert NODE.accepts(tag) is answer


@pytest.mark.parametrize(
    ("marker", "answer"),
    [
        ("", True),
        (" extra == 'hiredis'", False),
        ("(platform_system == 'Windows') and extra == 'timezone'", False),
        ("platform_system == 'Windows'", False),
        (' implementation_name != "PyPy"', True),
        ("platform_python_implementation != 'PyPy'", True),
        ("python_full_version < '3.11.3'", False),
        ("python_full_version < '3.12.5'", True),
        ("python_version >= '3.12'", True),
        ("python_version < '3.12'", False),
        ("python_version >= '3.9' and sys_platform == 'linux'", True),
    ],
)
def test_markers(marker: str, answer: bool) -> None:
    assert is_required(marker, NODE.python) is answer


def test_pip_is_asked_for_the_node_and_not_for_us() -> None:
    arguments = NodePlatform((3, 13, 1), "aarch64", (2, 19)).pip_arguments()
    pairs = list(zip(arguments[::2], arguments[1::2], strict=True))
    assert (
        ("--python-version", "3.13.1") in pairs and ("--abi", "cp313") in pairs and ("--abi", "abi3") in pairs
    )
    assert [v for k, v in pairs if k == "--platform"] == [
        "manylinux_2_19_aarch64",
        "manylinux_2_18_aarch64",
        "manylinux_2_17_aarch64",
        "manylinux2014_aarch64",
    ]


def test_patch_levels_share_a_cache() -> None:
    assert NODE.key == NodePlatform((3, 12, 9), "x86_64", (2, 31)).key == "cp312-x86_64-glibc2.31"
