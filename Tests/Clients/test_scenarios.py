"""The scenarios of Tests/Scenarios, over TLS."""

import pytest

import scenario
from raw_client import RawClient


@pytest.mark.parametrize(
    "path", sorted(scenario.FOLDER.glob("*.scenario")), ids=lambda path: path.stem)
def test_scenario(server, person, path):
    steps = scenario.steps(path)
    people = {}
    for name in {step.actor.split("/")[0] for step in steps}:
        people[name] = person()
    actors = {}
    try:
        for step in steps:
            perform(server, people, actors, step, f"{path.name}:{step.line}")
    finally:
        for actor in actors.values():
            actor.client.connection.close()


def perform(server, people, actors, step, place):
    action = step.words[0]
    if action == "exists":
        return
    if action in ("online", "connected"):
        name = step.actor.split("/")[0]
        client = RawClient.secure(server)
        client.log_in(people[name])
        actor = actors[step.actor] = scenario.Actor(client)
        actor.jid = client.bind(step.words[1])
        if action == "online":
            actor.come_online()
        return
    actor = actors[step.actor]
    text = scenario.named(step.block, people)
    if action == "sends":
        actor.client.send(text)
    elif step.words == ("receives",):
        reason = scenario.difference(actor.next(), scenario.element(text))
        assert reason is None, f"{place}: {reason}"
    elif step.words == ("receives", "nothing"):
        # What others have sent is on its way to this one when they get their answers.
        for other in actors.values():
            if other is not actor:
                held = other.before_pong()
                other.put_back(held)
        found = [scenario.ET.tostring(node) for node in actor.before_pong()]
        assert not found, f"{place}: {found}"
    elif action == "ignores":
        for other in actors.values():
            if other is not actor:
                other.put_back(other.before_pong())
        actor.before_pong()
    elif action == "leaves":
        actor.client.send("</stream:stream>")
        assert actor.client.read_to_end().endswith("</stream:stream>"), place
        actors.pop(step.actor).client.connection.close()
    elif action == "vanishes":
        actors.pop(step.actor).client.connection.close()
    else:
        raise AssertionError(f"{place}: {' '.join(step.words)}?")
