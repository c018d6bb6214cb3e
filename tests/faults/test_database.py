"""The database is locked, removed, or refused by its disk: calls go on, records come later, writes say why not."""

import sqlite3

import pytest

from lib import sdp
from lib.faults import Faults
from lib.tenant import Carriers, Tenant
from lib.waiting import wait_until


class Trouble:
    """A switch with a call that is up, and what can happen to its database."""

    def __init__(self, switch, faults):
        self.switch, self.faults = switch, faults
        self.two = Carriers(Tenant(switch))
        self.up = self.talk()

    def talk(self):
        return self.two.established(sdp.audio("127.0.0.1", 4000), sdp.audio("127.0.0.1", 5000))

    def hang_up(self, pair):
        call, leg = pair
        self.two.hang_up(call, leg)
        return call.call_id

    def write(self, number=0):
        return self.two.tenant.api.post("/connections", {
            "domain": self.two.tenant.domain, "connection-orig-match-pattern": f"sip*@trouble{number}.example",
        })  # fmt: skip

    def recorded(self):
        return {record["orig"]["call_id"] for record in self.switch.cdrs()}

    def check(self, reason, begin, end):
        """From `begin` to `end`: calls, reads and refusals; after `end` everything as if nothing had been."""
        begin()
        refused = self.write()
        assert refused.status == 503 and reason in refused.message, refused
        assert int(refused.headers["Retry-After"]) >= 1
        assert not self.switch.healthy()
        # Reads, new calls, and their ends.
        assert self.two.tenant.api.get(f"/domains/{self.two.tenant.domain}/connections").status == 200
        made = [self.hang_up(self.talk()) for _ in range(3)]
        wait_until("records wait", lambda: self.switch.metric("strowger_cdr_queue_records") >= 3, 15)
        # Gathered or not, none may be given up.
        wait_until("the log says so", lambda: "call records cannot be stored yet" in self.switch.log_text(), 20)
        end()
        wait_until("a write is taken", lambda: self.write(1).status in (202, 409), 15)
        assert wait_until("all is well", self.switch.healthy, 10)
        assert self.write().status == 202, "what was refused had not been stored"
        made.append(self.hang_up(self.up))
        wait_until("the records of all calls", lambda: set(made) <= self.recorded(), 15)
        assert "call records are stored again" in self.switch.log_text()
        assert self.switch.metric("strowger_cdr_logged_total") == 0
        assert self.switch.metric("strowger_panics_total") == 0
        self.two.close()


@pytest.fixture
def trouble(own_switch, tmp_path):
    faults = Faults(tmp_path / "faults")
    return Trouble(own_switch(name="data", env=faults.environment), faults)


def database(trouble):
    return trouble.switch.data / "strowger.db"


def test_another_process_locks_the_database(trouble):
    other = sqlite3.connect(database(trouble), isolation_level=None, check_same_thread=False)
    trouble.check("locked", lambda: other.execute("BEGIN IMMEDIATE"), lambda: other.execute("ROLLBACK"))
    other.close()


def test_the_database_file_is_away_for_a_while(trouble):
    path, aside = database(trouble), trouble.switch.data / "aside"
    trouble.check("removed", lambda: path.rename(aside), lambda: aside.rename(path))


@pytest.mark.parametrize("problem", ["EROFS", pytest.param("EIO", marks=pytest.mark.long)])
def test_the_disk_refuses(trouble, problem):
    trouble.check("cannot be written", lambda: trouble.faults.disk(problem), trouble.faults.disk)


def test_the_disk_is_full(trouble):
    trouble.check("no room", lambda: trouble.faults.disk("ENOSPC"), trouble.faults.disk)


def test_a_switch_that_is_stopped_meanwhile_stops_and_leaves_its_records_in_the_log(own_switch, tmp_path):
    faults = Faults(tmp_path / "faults")
    one = Trouble(own_switch("--drain-seconds", 1, name="data", env=faults.environment), faults)
    faults.disk("EIO")
    call_id = one.hang_up(one.up)
    wait_until("the log says so", lambda: "call records cannot be stored yet" in one.switch.log_text(), 20)
    one.switch.terminate()
    assert one.switch.wait(40) == 0
    (line,) = [line for line in one.switch.log_text().splitlines() if "call record not stored" in line]
    assert call_id in line
    one.two.close()
