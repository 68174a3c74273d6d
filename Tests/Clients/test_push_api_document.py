"""The interface for programs is as its OpenAPI document says: a validator takes the document, and
schemathesis finds no answer that is not in it, and no error of the server's."""

import contextlib
import json
import subprocess
import sys

import pytest
from openapi_spec_validator import validate

from push_town import Town

# It takes what is too large for refused, too.
CONFIGURATION = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 403, 404, 405, 409, 413, 414, 415, 422, 429, 431]
"""
# Requests for each operation that schemathesis makes up.
EXAMPLES = 25
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance,negative_data_rejection,"
    "missing_required_header,unsupported_method,ignored_auth")


@pytest.fixture(scope="module")
def town(push_authority, tmp_path_factory):
    with contextlib.ExitStack() as stops:
        town = Town(push_authority, tmp_path_factory.mktemp("town"), stops)
        town.phone("anna", "huawei", "fcm", tags=["red"], alias="captain")
        town.phone("ben", "xiaomi", tags=["red", "blue"])
        yield town


def test_the_document_is_openapi(town):
    reply = town.program.get("/api/openapi.json")
    assert reply.status == 200 and reply.json["openapi"].startswith("3.1.")
    validate(reply.json)


@pytest.mark.parametrize("who", ["program", "app", "nobody"])
def test_what_is_answered_is_documented(town, who, tmp_path):
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(town.program.get("/api/openapi.json").json))
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text(CONFIGURATION)
    client = {"program": town.program, "app": town.app("cleo")}.get(who)
    arguments = ["--header", f"Authorization: {client.credential}"] if client else []
    done = subprocess.run(
        [sys.executable, "-m", "schemathesis.cli", "--config-file", configuration, "run", document,
         "--url", f"https://127.0.0.1:{town.kinglet.ports['web']}", "--tls-verify", "false",
         "--max-examples", str(EXAMPLES), "--checks", CHECKS, "--seed", "9", "--no-color",
         *arguments],
        cwd=tmp_path, capture_output=True, text=True, timeout=240)
    lines = [line[:300] for line in (done.stdout + done.stderr).splitlines()]
    assert done.returncode == 0, "\n".join(lines)
    assert town.program.get("/api/v1/devices").status == 200
