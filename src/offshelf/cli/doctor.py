"""``offshelf doctor``: versions, engines, devices, caches, weights, and what is wrong."""

from __future__ import annotations

import argparse

from offshelf.cli import console, options

SUMMARY = "check the installation, and say what is wrong with it"


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
    console.facts(diagnosis.versions.items())
    console.say()
    width = max(len(check.name) for check in diagnosis.checks)
    console.facts(
        ("ok" if check.ok else "PROBLEM", f"{check.name:<{width}}  {check.detail}")
        for check in diagnosis.checks
    )
    return 0 if diagnosis.ok else 1
