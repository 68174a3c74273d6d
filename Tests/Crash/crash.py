#!/usr/bin/env python3
"""Kills the server under load and starts it again, as often as wanted, on the same data: what it
acknowledged is found exactly once by its receiver, and nothing is doubled. For `make crash`."""

import argparse
import asyncio
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Clients"))

# pylint: disable=wrong-import-position
from campaign import Campaign
from modes import Fail, Forget, Kill, Restart
from unprivileged import Place

MODES = {"kill": Kill, "restart": Restart, "fail": Fail, "forget": Forget}
STORIES = 10


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300, help="lives of the server (%(default)s)")
    parser.add_argument("--mode", choices=(*MODES, "all"), default="all",
                        help="kill: it is killed; restart: it is mostly stopped; fail: and writes "
                        "fail before it is killed; forget: and what was not synced is lost "
                        "(%(default)s)")
    parser.add_argument("--seed", type=int, help="of another run, to draw the same numbers")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="a configuration key of the server; storage.durability=relaxed makes "
                        "the mode `forget` fail, as it has to")
    return parser.parse_args()


def crash(name, runs, seed, settings):
    """One campaign; True if all was well."""
    print(f"crash, mode {name}: {runs} runs, seed {seed}", flush=True)
    began = time.monotonic()
    place = Place()
    place.server.settings.update(settings)
    campaign = Campaign(place, MODES[name](), random.Random(seed))
    is_well = False

    def progress(campaign):
        count = campaign.tallies["runs"]
        if count % 50 == 0 and count < runs:
            print(f"  {count} runs, {campaign.tallies['messages']} messages", flush=True)

    try:
        asyncio.run(campaign.run(runs, progress))
        is_well = not campaign.ledger.violations
    finally:
        report(campaign, time.monotonic() - began)
        if is_well:
            place.remove()
        else:
            place.keep()
            if place.server.log:
                print(f"The server's log ends:\n{place.server.log.text[-2000:]}")
            print(f"The data is kept in {place.directory}")
    return is_well


def report(campaign, seconds):
    count = campaign.tallies
    print(f"""\
  {count['runs']} runs in {seconds:.0f} s: {count['kill']} killed, \
{count['kill while starting']} killed while starting, {count['stop']} stopped
  {count['checks']} checks, {count['integrity checks']} of the file, of which \
{count['integrity failures']} failed
  messages {count['messages']}, acknowledged {count['acknowledged']}, \
sent again {count['sent again']}
  streams resumed {count['resumed']} ({count['resumed after a stop']} after a stop), \
failed with h {count['failed with h']}, failed without h {count['failed without h']}
  found in the archive {count['found in the archive']}, \
delivered again after a crash {count['delivered again']}, \
contacts confirmed {count['contacts confirmed']}
  faults {count['faults']}, refused {count['refused']} \
({count['refused while stopping']} while stopping, {count['refused unheard']} unheard), \
thrown out by faults {count['thrown out by faults']}, writes forgotten {count['writes forgotten']}
  lost {count['lost']}, doubled {count['doubled']}, overtaken {count['overtaken']}, \
violations {len(campaign.ledger.violations)}""")
    for violation in campaign.ledger.violations[:STORIES]:
        print(f"VIOLATION: {violation}")


def main():
    options = arguments()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**9)
    names = list(MODES) if options.mode == "all" else (options.mode,)
    settings = dict(text.split("=", 1) for text in options.set)
    results = [crash(name, options.runs, seed, settings) for name in names]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
