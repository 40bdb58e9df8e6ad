"""How the tests themselves are run."""

import os

import pytest


@pytest.mark.xdist_group("running")
def test_tests_of_a_group_run_in_one_process(request):
    """What is made once for a group is otherwise made in each process: a silent loss of minutes."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("in one process")
    assert request.node.nodeid.endswith("@running")
