"""``offshelf doctor``: versions, engines, devices, caches, weights, and what is wrong."""

from __future__ import annotations

import argparse

from offshelf.cli import console, options

SUMMARY = "check the installation: versions, engines, devices, caches, weights"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    options.add_cache(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the command."""
    from offshelf.jobs.doctor import diagnose

    diagnosis = diagnose(arguments.cache_dir)
    if arguments.json:
        console.print_json(diagnosis.to_json())
        return 0 if diagnosis.ok else 1
    for name, version in diagnosis.versions.items():
        console.say(f"{name:<16} {version}")
    for check in diagnosis.checks:
        console.say(f"{'ok' if check.ok else 'PROBLEM':<8} {check.name}: {check.detail}")
    return 0 if diagnosis.ok else 1
