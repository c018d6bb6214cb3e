"""What a newcomer sees: the first start, the next one, and clear words when it cannot start."""

import json
import re
import socket
import sqlite3
import stat
import subprocess

import pytest

from lib.api import Api
from lib.switch import run
from lib.waiting import wait_until


def fails_with(switch, *words):
    """The process ends by itself, not with 0, and its last words are one sentence that holds `words`."""
    switch.launch()
    assert switch.wait(15) != 0
    lines = [line for line in switch.log_text().splitlines() if line.strip()]
    assert "panicked" not in switch.log_text()
    for word in words:
        assert str(word) in lines[-1], f"{word!r} is not in the last line:\n{switch.log_text()}"


def greeting(switch):
    """What was said at the start; the last of it comes a moment after /healthz is well."""
    return wait_until("the greeting", lambda: "ready version" in switch.log_text() and switch.log_text())


def test_the_first_start_makes_the_key_and_says_what_comes_next(own_switch):
    switch = own_switch()
    assert switch.key.startswith("nss_") and len(switch.key) == 60
    key_file = switch.data / "superuser.key"
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
    assert key_file.read_text().count("\n") <= 1
    said = greeting(switch)
    for word in (f"{switch.origin}/ns-api/v2", "/docs", f"127.0.0.1:{switch.sip_port}", "superuser.key", "curl"):
        assert word in said, f"{word} is not in the greeting:\n{said}"
    assert switch.key not in said, "the key itself belongs into its file alone"


def test_the_next_start_keeps_key_and_records_and_says_less(own_switch):
    first = own_switch(name="kept")
    first.api.create("/domains", {"synchronous": "yes", "domain": "kept.example", "reseller": "r", "description": "d"})
    key, said = first.key, greeting(first)
    first.stop()
    first.log_path.unlink()
    second = own_switch(name="kept")
    assert second.key == key
    assert second.api.get("/domains/kept.example").status == 200
    assert len(greeting(second).splitlines()) < len(said.splitlines())


def test_the_database_holds_no_key_in_clear(own_switch):
    switch = own_switch()
    key = switch.key
    switch.stop()
    for path in switch.data.rglob("*"):
        if path.is_file() and path.name != "superuser.key":
            assert key.encode() not in path.read_bytes(), path.name


def test_a_port_in_use_is_named(own_switch):
    switch = own_switch(start=False)
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", switch.http_port))
        squatter.listen()
        fails_with(switch, switch.http_port)


def test_a_sip_port_in_use_is_named(own_switch):
    switch = own_switch(start=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as squatter:
        squatter.bind(("127.0.0.1", switch.sip_port))
        fails_with(switch, switch.sip_port)


def test_a_database_of_a_newer_schema_is_refused_untouched(own_switch):
    first = own_switch(name="newer")
    first.stop()
    database = next(first.data.glob("*.db"))
    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        version_table = next((name for name in tables if "version" in name or "migration" in name), None)
        if version_table:
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({version_table})")]
            number = next(c for c in columns if c in ("version", "number", "id"))
            connection.execute(
                f"UPDATE {version_table} SET {number} = 9999 WHERE {number} = (SELECT max({number}) FROM {version_table})"
            )
        else:
            connection.execute("PRAGMA user_version = 9999")
    fails_with(own_switch(name="newer", start=False), "9999")


def test_a_database_that_is_none_is_refused(own_switch):
    first = own_switch(name="broken")
    first.stop()
    database = next(first.data.glob("*.db"))
    for path in first.data.glob("*.db-*"):
        path.unlink()
    database.write_bytes(b"this is no database, only a letter to it " * 100)
    fails_with(own_switch(name="broken", start=False), database.name)


def test_an_unknown_setting_names_itself_and_its_neighbour(own_switch, tmp_path):
    config = tmp_path / "strowger.toml"
    config.write_text("drain_secnods = 5\n")
    switch = own_switch(start=False)
    switch.options = ["--config", config]
    fails_with(switch, "drain_secnods", "drain_seconds")


def test_flags_override_environment_overrides_file(own_switch, tmp_path):
    config = tmp_path / "strowger.toml"
    config.write_text('http = "127.0.0.1:1"\nlog_format = "json"\nlog_level = "warn"\n')
    switch = own_switch(start=False, env={"STROWGER_LOG_FORMAT": "text", "STROWGER_LOG_LEVEL": "debug"})
    switch.options = ["--config", config]
    switch.start()  # --http of the command line won, or /healthz would not answer here
    assert not any(line.startswith("{") for line in switch.log_text().splitlines()), "the variable beats the file"


def test_the_logs_can_be_json(own_switch):
    switch = own_switch("--log-format", "json")
    lines = [line for line in switch.log_text().splitlines() if line.startswith("{")]
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)


def test_two_switches_do_not_share_a_data_folder(own_switch):
    own_switch(name="shared")
    second = own_switch(name="shared", start=False)
    second.log_path = second.data.parent / "second.log"
    fails_with(second, "shared")


@pytest.mark.parametrize("arguments", [("--version",), ("--help",), ("serve", "--help")])
def test_help_is_there(arguments):
    result = run(*arguments)
    assert result.returncode == 0 and "strowger" in result.stdout


def test_the_greetings_curl_works(own_switch):
    """The very command that is printed, given to a shell."""
    switch = own_switch()
    command = next(line.strip() for line in greeting(switch).splitlines() if re.search(r"\bcurl\b.*http", line))
    command = command[command.index("curl") :]
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, f"{command}\n{result.stderr}"
    assert Api(switch.origin).get("/version").status in (200, 401)
