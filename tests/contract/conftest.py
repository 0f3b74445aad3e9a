"""Which tests of the contract run only at length: Slurm starts jobs once a second."""

import pytest

# What they look at is the sandbox's doing, which is the same behind ssh.
_OF_THE_SANDBOX = frozenset(
    {
        "test_a_file_below_a_declared_tree_is_that_trees_file",
        "test_children_of_others_are_left_alone",
        "test_home_and_temporary_folder_are_private_and_writable",
        "test_no_descriptor_of_ours_is_open_in_the_command",
        "test_originals_keep_their_stamps",
        "test_staged_files_have_one_date_and_the_modes_of_their_kind",
    }
)


@pytest.hookimpl(tryfirst=True)  # before those marked so are left out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these, and all but the first variant of what has several."""
    seen = set(_OF_THE_SANDBOX)
    for item in items:
        name, _, variant = item.name.partition("[")
        if variant.startswith("slurm"):
            if name in seen:
                item.add_marker(pytest.mark.long)
            seen.add(name)
