"""Faults of the machine, put between the switch and the system: see faults.c."""

import errno
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).with_name("faults.c")


class Faults:
    """What is wrong at the moment with the machine of a switch that was started with `environment`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.library = self.folder / "faults.so"
        subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", self.library, SOURCE, "-ldl"], check=True)

    @property
    def environment(self):
        return {"LD_PRELOAD": str(self.library), "FAULTS_FOLDER": str(self.folder)}

    def set_clock(self, seconds):
        """The wall clock is off by so much from now on."""
        self._say("clock", seconds)

    def disk(self, problem=None):
        """The disk of the database refuses with this errno's name, or is well again."""
        self._say("disk", getattr(errno, problem) if problem else 0)

    def _say(self, name, value):
        # In one step, so that nobody reads half of it.
        new = self.folder / f"{name}.new"
        new.write_text(str(value))
        new.rename(self.folder / name)
