"""The soak's verdict, on made-up samples."""

import soak


def samples(memory, descriptors=lambda second: 100):
    return [{"second": second, "anonymous_kb": memory(second), "descriptors": descriptors(second),
             "cpu_s": 1.0, "database_mb": 1, "threads": 9} for second in range(0, 3600, 5)]


COUNTS = {"sent": 10, "lost": 0}


def test_what_is_flat_after_the_warm_up_is_good():
    lines, is_good = soak.verdict(samples(lambda second: min(second * 20, 20_000)), COUNTS)
    assert is_good
    assert lines[0] == ("anonymous_kb: 20,000 after the warm-up, 20,000 at the end, at most "
                        "20,000: flat")


def test_a_slow_leak_is_found():
    # 1.5 KB a second: one leaked session in some seconds.
    lines, is_good = soak.verdict(samples(lambda second: 20_000 + second * 3 // 2), COUNTS)
    assert not is_good
    assert "GREW" in lines[0]


def test_descriptors_that_are_not_closed_are_found():
    _, is_good = soak.verdict(
        samples(lambda _: 20_000, lambda second: 100 + second // 120), COUNTS)
    assert not is_good


def test_a_lost_message_is_not_good():
    _, is_good = soak.verdict(samples(lambda _: 20_000), {"sent": 10, "lost": 1})
    assert not is_good
