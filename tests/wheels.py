"""Plugins of plugin_spec/ as wheels, built and installed as their users would."""

import subprocess
import sys
from pathlib import Path


def checked(*words, **options) -> str:
    """Run a command that has to end well and return what it printed."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, timeout=300, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def installed(plugin: Path, work: Path) -> Path:
    """Return a folder with the plugin's wheel installed, built from a copy: no build folder is left in the tree."""
    source, wheels, site = work / "source", work / "wheels", work / "site"
    source.mkdir()
    for file in plugin.iterdir():
        if file.suffix in (".py", ".toml"):
            (source / file.name).write_bytes(file.read_bytes())
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    offline = ["--no-deps", "--no-index"]
    checked(*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", wheels, source)
    [wheel] = wheels.glob("*.whl")
    checked(*pip, "install", *offline, "--target", site, wheel)
    return site
