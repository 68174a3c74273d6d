"""Clients that Debian ships talk to slixmpp: go-sendxmpp and profanity."""

import asyncio
import os
import subprocess

import pytest

from terminal import Terminal


def home(directory, server):
    """The environment of somebody who trusts the server's authority and has no settings."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    return environment | {
        "HOME": str(directory), "TERM": "xterm", "LANG": "C.UTF-8",
        "SSL_CERT_FILE": str(server.authority)}


@pytest.mark.parametrize("direct_tls", [False, True], ids=["starttls", "direct_tls"])
async def test_go_sendxmpp_sends_a_message(connect, server, person, tmp_path, direct_tls):
    """RFC 6121 section 5, XEP-0368: on either port, the certificate being verified."""
    romeo, juliet = person(), await connect(person())
    settings = tmp_path / "sendxmpprc"
    port = server.ports["client_tls" if direct_tls else "client"]
    settings.write_text(
        f"username: {romeo.jid}\npassword: {romeo.password}\njserver: 127.0.0.1:{port}\n")
    settings.chmod(0o600)
    done = await asyncio.to_thread(
        subprocess.run,
        ["go-sendxmpp", *(["--tls"] if direct_tls else []), "--file", settings,
         juliet.boundjid.bare],
        input="Grüße von go-sendxmpp 🐦\n", env=home(tmp_path, server), capture_output=True,
        text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    message = await juliet.next_message()
    assert message["body"].strip() == "Grüße von go-sendxmpp 🐦"
    assert message["from"].bare == romeo.jid


async def test_profanity_and_slixmpp_chat(connect, server, person, tmp_path):
    """RFC 6121 section 5: a terminal client over STARTTLS, both ways."""
    romeo, juliet = person(), await connect(person())
    accounts = tmp_path / ".local/share/profanity/accounts"
    accounts.parent.mkdir(parents=True)
    accounts.write_text(
        f"[{romeo.jid}]\nenabled=true\njid={romeo.jid}\npassword={romeo.password}\n"
        f"server=127.0.0.1\nport={server.ports['client']}\nresource=terminal\n"
        "tls.policy=force\n")
    accounts.chmod(0o600)
    with Terminal(
        "profanity", "-a", romeo.jid, environment=home(tmp_path, server)
    ) as profanity:
        await asyncio.to_thread(profanity.wait_for, "logged in successfully")
        profanity.type(f"/msg {juliet.boundjid.bare} hello from a terminal\r")
        message = await juliet.next_message()
        assert message["body"] == "hello from a terminal"
        assert message["from"] == f"{romeo.jid}/terminal"
        message.reply("hello to the terminal").send()
        await asyncio.to_thread(profanity.wait_for, "hello to the terminal")
        profanity.type("/quit\r")
        assert await asyncio.to_thread(profanity.process.wait, 15) == 0
