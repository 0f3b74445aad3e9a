"""What of the contract an executor cannot hold, and why: none of it is left to chance."""

from collections.abc import Mapping

_NO_FOLDER = "a checkpoint travels with the action and back: nobody sees it while it is used"
_NO_DATES = "the API tells a worker no dates and no modes but the executable bit"
_NO_MEMORY = "how much memory there is, is said by platform properties; no server tells the rest"
_NO_USE = "the API tells when a command began and ended, not what it used"
_NO_CALLER = "a worker has no files of the caller, and no cache of this machine"

CANNOT: Mapping[str, Mapping[str, str]] = {  # kind -> test -> why
    "reapi": {
        "test_staged_files_have_one_date_and_the_modes_of_their_kind": _NO_DATES,
        "test_cancel_ends_every_running_command_and_those_to_come": _NO_FOLDER,
        "test_a_command_outlives_the_thread_that_started_the_first": _NO_FOLDER,
        "test_too_much_memory_is_reported_as_that": _NO_MEMORY,
        "test_use_of_time_and_memory_is_measured": _NO_USE,
        "test_what_callers_variables_name_is_there_for_network_actions": _NO_CALLER,
    },
}
