"""Cases from public reports about programs of this kind, and how each is here: `python -m benchmarks.system.public_cases`.

Every case has its tests. Runs exactly those, with a real server and a real browser where they need one, and writes a row a case. A case
holds if all its tests ran and passed. The exit code is 1 if one does not. With `--case`, the rows of other cases stay as they were.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.result_file import RESULTS, Row, write_result

ROOT = Path(__file__).resolve().parents[2]

CASES: Mapping[str, Sequence[str]] = {
    "1 a gate's answer belongs to one run, though ids of runs begin alike": (
        "core/library/test_turn_numbers.py::test_runs_whose_ids_begin_alike_get_names_of_their_own",
        "core/gates/test_session.py::test_an_answer_belongs_to_one_run",
        "deployments/test_open_turns.py::test_a_gate_is_answered_for_one_run_only_and_a_stop_is_remembered",
    ),
    "2 a restart keeps schedules and parameters": (
        "deployments/prefect/test_deploying.py::test_a_persons_values_stay_and_the_programs_new_ones_arrive",
        "deployments/prefect/test_deploying.py::test_up_keeps_what_people_set_in_the_prefect_interface",
    ),
    "3 runs of another worker are not declared dead": (
        "deployments/workspace/test_reconciler.py::test_runs_of_other_workers_are_let_alone",
        "deployments/workspace/test_reconciler.py::test_a_second_worker_in_this_workspace_is_judged_by_its_notes",
    ),
    "4 lines of other programs in .env, byte order marks, encodings": (
        "core/base/test_settings.py::test_lines_of_other_tools_in_a_dotenv_file_are_none_of_our_business",
        "core/base/test_settings.py::test_settings_files_of_any_editor_are_read",
        "core/base/test_settings.py::test_a_misspelt_setting_is_named_with_the_right_one",
        "core/base/test_settings.py::test_what_cannot_be_read_is_named",
    ),
    "5 a TIFF with an odd later page": (
        "core/images/test_decode.py::test_a_bad_later_page_leaves_the_first_one_alone",
        "deployments/studio/test_picture_api.py::test_a_picture_with_an_odd_later_page_is_an_answer_at_every_door",
    ),
    "6 photographs with broken EXIF": (
        "core/images/test_decode.py::test_broken_exif_is_a_note_and_the_picture_is_kept",
        "core/images/test_decode.py::test_orientation_is_taken_from_exif_whose_other_entries_are_broken",
        "core/images/test_decode.py::test_gps_numbers_that_cannot_be_written_back_do_not_stop_the_turning",
    ),
    "7 file names that are not UTF-8": (
        "core/images/test_entries.py::test_names_that_are_no_utf8_are_taken_in_letters_that_can_be_written",
        "deployments/cli/test_app.py::test_names_that_no_terminal_can_show_are_no_stack_trace",
    ),
    "8 dangling links, pipes, unreadable files; a failed first ingest fixes nothing": (
        "core/images/test_entries.py::test_links_pipes_and_sockets_are_one_line_each",
        "deployments/cli/test_app.py::test_odd_entries_are_one_line_each_and_the_pictures_beside_them_are_read",
        "deployments/cli/test_app.py::test_a_folder_without_a_readable_picture_makes_no_character",
        "deployments/cli/test_app.py::test_what_was_given_wrongly_is_put_right_before_the_first_turn",
    ),
    "9 a schedule opens one turn while a gate waits": (
        "core/records/test_open_turns.py::test_a_turn_that_goes_on_leaves_no_room_for_a_second_one",
        "deployments/test_open_turns.py::test_a_second_turn_begins_only_when_the_first_is_over_or_its_run_is_gone",
    ),
    "10 Prefect's interface from another machine": (
        "deployments/workspace/test_environment.py::test_the_interface_asks_where_it_was_opened_and_invites_no_other_site",
        "core/base/test_services.py::test_gate_links_lead_to_where_people_can_go",
        "deployments/prefect/test_guard.py::test_programs_pass_as_before",
    ),
    "11 a LoRA with targets that the other layout cannot hold": (
        "core/models/flux1/test_lora_load.py::test_what_that_layout_cannot_hold_is_said",
        "core/stages/test_export.py::test_the_file_for_other_tools_is_there_or_the_card_says_why_not",
    ),
    "12 a DoRA keeps its magnitudes in the file for other tools": (
        "core/models/flux1/test_lora_load.py::test_the_file_for_other_tools_says_the_same",
    ),
    "13 prompts of imported triplets in any encoding": (
        "core/lessons/test_folders.py::test_prompts_of_any_editor_are_the_same_words",
        "core/lessons/test_folders.py::test_what_cannot_be_used_is_named_and_the_rest_comes_in",
        "core/lessons/test_folders.py::test_a_line_that_describes_no_triplet_leaves_the_others",
    ),
    "14 exported triplets come back letter by letter": (
        "core/lessons/test_folders.py::test_an_exported_set_comes_back_letter_by_letter",
        "core/images/test_folder.py::test_a_line_separator_inside_a_caption_is_no_end_of_line",
    ),
    "15 metadata.jsonl with a byte order mark, in UTF-16, in Windows-1252": (
        "core/images/test_folder.py::test_captions_in_the_encodings_of_windows",
    ),
    "16 a refused file ends no upload of many; folders and equal names": (
        "deployments/studio/test_browser_drop_in.py::test_dropped_folders_are_walked_and_one_refusal_stops_nothing",
        "deployments/studio/test_folder_api.py::test_pictures_of_one_name_in_two_folders_are_both_kept_and_copies_named",
    ),
    "17 an editor's LoRA of another model": (
        "core/models/qwen_image/test_lora_host.py::test_those_of_another_model_are_refused",
        "core/models/qwen_image/test_editor.py::test_a_lora_of_another_model_is_refused_before_anything_loads",
    ),
    "18 DoRA, LoKr, no alpha, names of other trainers": (
        "core/adapters/test_lora_reading.py::test_names_of_every_trainer_mean_the_same_module",
        "core/adapters/test_lora_reading.py::test_the_scale_is_alpha_over_rank_and_one_where_nothing_is_said",
        "core/adapters/test_lora_reading.py::test_magnitudes_of_a_dora_are_kept",
        "core/adapters/test_lora_reading.py::test_what_cannot_be_worn_is_refused_in_one_sentence",
    ),
    "19 [trigger], weights and tags in captions; triggers as others write them": (
        "core/identity/test_given_captions.py::test_placeholders_become_the_trigger",
        "core/identity/test_given_captions.py::test_weights_and_tags_are_left_away_and_named",
        "core/identity/test_given_captions.py::test_the_trigger_is_learned_in_one_spelling",
        "deployments/cli/test_app.py::test_impossible_names_are_explained",
    ),
    "20 captions in .caption, tables and nested metadata": (
        "core/images/test_folder.py::test_captions_under_the_suffixes_of_other_tools",
        "core/images/test_folder.py::test_captions_in_tables_of_other_tools",
        "core/images/test_folder.py::test_captions_that_are_not_used_are_one_line_each_matter",
    ),
    "21 folders of other trainers: class pictures and masks": (
        "core/images/test_folder.py::test_a_kohya_folder_gives_the_character_and_not_the_class",
        "core/images/test_folder.py::test_masks_and_control_pictures_are_told_by_their_names",
        "deployments/cli/test_ingest.py::test_a_kohya_folder_becomes_the_character_alone",
    ),
    "23 no checkpoint is written of numbers that are none": (
        "core/engine/test_loop.py::test_no_checkpoint_is_written_of_weights_that_are_no_numbers",
        "core/engine/test_loop.py::test_a_stop_after_the_numbers_broke_saves_nothing",
        "core/engine/test_checkpoint.py::test_a_checkpoint_of_no_numbers_is_passed_over",
    ),
    "24 a wide picture is judged by its own pixels": (
        "core/images/test_decode.py::test_a_wide_picture_keeps_the_pixels_that_training_can_use",
        "core/plans/test_cuts.py::test_a_panorama_loses_its_ends",
    ),
    "25 the studio behind a TLS proxy": (
        "deployments/access/test_door.py::test_behind_a_proxy_that_keeps_its_own_host_the_public_address_counts",
        "deployments/test_behind_nginx.py::test_people_log_in_decide_and_look_at_runs_through_the_proxy",
    ),
    "27 brackets and colons in file names": (
        "core/images/test_entries.py::test_names_are_shown_as_they_are_with_their_folders",
        "deployments/cli/test_app.py::test_a_folder_whose_name_looks_like_markup_can_be_made_ready_twice",
    ),
    "28 corrected captions, renamed and removed pictures": (
        "core/library/test_characters.py::test_a_caption_given_later_wins_whatever_the_file_is_called_by_then",
        "core/library/test_characters.py::test_sources_taken_back_count_no_more_until_they_are_given_again",
    ),
    "31 captions longer than what is read": (
        "core/identity/test_given_captions.py::test_a_caption_that_is_longer_than_what_is_read_is_said_with_numbers",
        "core/identity/test_given_captions.py::test_a_trigger_beyond_what_is_read_is_put_in_front",
        "core/images/test_folder.py::test_a_caption_is_cut_between_characters_and_with_a_word",
    ),
    "32 an edit that shifts or zooms gets a hint": (
        "core/identity/test_framing.py::test_a_shifted_or_zoomed_edit_is_pointed_out",
        "core/stages/test_screen.py::test_an_edit_that_zooms_its_source_passes_with_a_hint",
    ),
    "35 a LoRA with parts for text encoders": (
        "core/adapters/test_lora_reading.py::test_text_encoders_are_left_out_and_said",
        "core/models/flux1/test_lora_load.py::test_a_generator_refuses_a_lora_before_it_loads_anything",
    ),
    "36 slots are free after a kill": (
        "core/runner/test_launch.py::test_kill_of_the_holder_frees_the_card_at_once",
        "deployments/test_kills.py::test_killed_worker_and_run_go_on_from_the_checkpoint",
        "deployments/prefect/test_contracts.py::test_leases_of_the_servers_file_storage_are_read",
    ),
    "37 a database that is locked": (
        "deployments/prefect/test_server.py::test_only_a_busy_server_asks_its_clients_back_soon",
        "deployments/test_busy.py::test_five_turns_at_once_reach_their_gates_while_the_studio_is_asked",
    ),
    "38 scripts in names and uploads, paths in requests": (
        "deployments/studio/test_security.py::test_texts_are_escaped",
        "deployments/studio/test_security.py::test_only_pictures_are_served",
        "deployments/studio/test_security.py::test_no_path_from_a_url_reaches_the_disk",
        "deployments/studio/test_security.py::test_changes_need_the_csrf_token",
        "deployments/studio/test_security.py::test_a_foreign_host_name_is_refused_on_loopback",
        "core/lessons/test_checks.py::test_an_import_never_leaves_its_folder",
    ),
    "39 leftovers of macOS and Windows": (
        "core/images/test_entries.py::test_hidden_pictures_are_named_and_leftovers_of_other_systems_are_not",
    ),
    "41 CMYK, 16 bits, animations, truncated files, many large pictures at once": (
        "core/images/test_decode.py::test_cmyk_becomes_rgb_with_the_right_hue",
        "core/images/test_decode.py::test_sixteen_bit_grey_keeps_its_tones",
        "core/images/test_decode.py::test_animation_uses_the_first_frame_and_says_so",
        "core/images/test_decode.py::test_unusable_files_are_refused_in_one_line",
        "core/images/test_decoders.py::test_large_pictures_take_turns",
        "core/images/test_decoders.py::test_too_many_pictures_at_once_are_refused_at_once",
    ),
}


def run_tests(tests: Sequence[str], report: Path) -> dict[str, list[bool]]:
    """What became of each test, a value for each set of its parameters."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}"]
    subprocess.run([*command, *tests], cwd=ROOT, check=False)
    found: dict[str, list[bool]] = {}
    for case in ElementTree.parse(report).iter("testcase"):
        file = str(case.get("classname")).replace(".", "/") + ".py"
        bad = any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))
        found.setdefault(f"{file}::{str(case.get('name')).partition('[')[0]}", []).append(not bad)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--case", action="append", default=[], help="only cases with this in their name")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the result file")
    arguments = parser.parse_args()
    wanted = {
        case: [f"tests/{test}" for test in tests]
        for case, tests in CASES.items()
        if not arguments.case or any(part in case for part in arguments.case)
    }
    with tempfile.TemporaryDirectory(prefix="flenwheel-cases-") as folder:
        found = run_tests(
            list(dict.fromkeys(test for tests in wanted.values() for test in tests)), Path(folder) / "report.xml"
        )
    rows: list[Row] = []
    for case, tests in wanted.items():
        holds = all(found.get(test) and all(found[test]) for test in tests)
        rows.append(
            {
                "case": case,
                "holds": holds,
                "tests": sum(len(found.get(test, ())) for test in tests),
                "shown_by": "; ".join(tests),
            }
        )
        if not holds:
            print(f"does not hold: {case}")
    path = arguments.out / "public_cases.json"
    standing = json.loads(path.read_text())["rows"] if arguments.case and path.exists() else []
    by_case: dict[str, Row] = {str(row["case"]): row for row in [*standing, *rows]}
    whole = [by_case[case] for case in CASES if case in by_case]
    print(write_result("public_cases", whole, folder=arguments.out, command="python -m benchmarks.system.public_cases"))
    return 0 if all(row["holds"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
