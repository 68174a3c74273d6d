"""What is promised of the archive: limits in both directions, and when nothing may be said."""

import gates
import report

THROUGHPUT = "Archived: messages a second, saturated, TLS: 20 x prosody's"
CPU = "Archived: CPU per message, saturated, plain, µs: 1/15 of ejabberd's"


def results(copies=2, **figures):
    """One round with an archive of so many copies of each message."""
    made = report.Results()
    made.add("kinglet", "archive slow plain", {"archived_per_msg": copies})
    for server, values in figures.items():
        for measurement, one in values.items():
            made.add(server, "archive " + measurement, one)
    return made


def gate(made, text):
    (found,) = [gate for gate in gates.gates(made) if gate.text.startswith(text)]
    return found


def throughput(kinglet, prosody, **options):
    return results(
        kinglet={"chat TLS": {"completed_per_s": kinglet}},
        prosody={"chat TLS": {"completed_per_s": prosody}}, **options)


def test_throughput_has_to_reach_its_limit():
    assert gate(throughput(8000, 400), THROUGHPUT).verdict == "ok"
    assert gate(throughput(7999, 400), THROUGHPUT).verdict == "missed"


def test_the_table_shows_on_which_side_of_the_limit_a_figure_has_to_be():
    lines = gates.table(throughput(8000, 400), 10_000, ["archive"]).splitlines()
    (line,) = [line for line in lines if line.startswith(THROUGHPUT)]
    assert line.removeprefix(THROUGHPUT).split() == ["8,000", "≥", "8,000", "ok"]
    (line,) = [line for line in lines if line.startswith("Memory per hibernated session")]
    assert line.split()[-5:] == ["-", "≤", "4.0", "not", "measured"]


def test_more_than_one_rival_sets_the_limit_by_the_best_of_them():
    made = throughput(0, 400)
    made.add("ejabberd", "archive chat TLS", {"completed_per_s": 500})
    rivals = "archive chat TLS", "completed_per_s"
    assert made.best(gates.DEFAULTS, *rivals, more_is_better=True) == 500
    assert made.best(gates.DEFAULTS, *rivals) == 400


def test_cpu_counts_with_what_is_done_later():
    made = results(
        kinglet={"chat plain": {"cpu_us_per_msg": 90, "cpu_us_per_msg_settled": 101}},
        ejabberd={"chat plain": {"cpu_us_per_msg": 1500, "cpu_us_per_msg_settled": 1500}})
    found = gate(made, CPU)
    assert (found.figure, found.limit, found.verdict) == (101, 100, "missed")


def test_without_an_archive_nothing_durable_is_judged():
    assert gate(throughput(8000, 400, copies=0), THROUGHPUT).verdict \
        == "not judged with an incomplete archive"
    one_copy = results(copies=1)
    assert gate(one_copy, "Archived: copies per message").verdict == "missed"


def test_the_median_may_take_a_disk_sync_and_two_milliseconds():
    made = results(kinglet={"rate TLS": {"latency_p50_ms": 3.0, "ack_p50_ms": 3.6}})
    made.add("floor", "disk sync", {"sync_ms": 1.5})
    receipt, answer = (
        gate(made, f"Archived: ms until {what}") for what in ("receipt", "acknowledgement"))
    assert (receipt.limit, receipt.verdict, answer.verdict) == (3.5, "ok", "missed")


def test_a_promise_about_many_rows_is_not_judged_by_few():
    page = "Large archive: ms for the last page"
    for rows, verdict in ((10_000_000, "missed"), (1000, "not judged with 1,000 rows")):
        made = report.Results()
        made.add("kinglet", "archive full", {"rows": rows, "page_ms": 21, "page_max_ms": 30})
        assert gate(made, page).verdict == verdict


def test_a_part_that_was_not_run_has_no_gates():
    texts = {
        part: {gate.text for gate in gates.gates(report.Results(), parts=[part])}
        for part in ("base", "archive", "scrape")}
    assert texts["base"] and texts["archive"] and not texts["base"] & texts["archive"]
