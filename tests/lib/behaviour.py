# SPDX-License-Identifier: LGPL-2.1-or-later
"""The frame of the tests that are written in Python: what functions.sh is for the shell.

    from behaviour import behaviour, check, ploop, run, main

    @behaviour('a clone holds the same bytes')
    def _():
        ...

    main()

Each behaviour runs in an empty directory of its own and is shown unless it raises. $PLOOP is the program
under test.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import traceback

PLOOP = os.path.abspath(os.environ.get('PLOOP', 'build/src/cli/ploop/ploop'))
_behaviours = []


def behaviour(name):
    def register(function):
        _behaviours.append((name, function))
        return function
    return register


def skip(why):
    print(f'skipped: {why}')
    sys.exit(77)


def requires(*programs):
    for program in programs:
        if not shutil.which(program, path=os.environ['PATH'] + ':/usr/sbin:/sbin'):
            skip(f'needs {program}')


def check(condition, otherwise):
    if not condition:
        raise AssertionError(otherwise)


def run(*command, rc=0, **options):
    """Run a command that must end with exit code rc; what it printed, both streams, is returned."""
    ran = subprocess.run([str(word) for word in command], text=True, errors='replace', stdout=subprocess.PIPE,
                         stderr=subprocess.STDOUT, **options)
    if ran.returncode != rc:
        raise AssertionError(f'exit {ran.returncode}, not {rc}: {" ".join(map(str, command))}\n{ran.stdout}')
    return ran.stdout


def ploop(*arguments, **options):
    return run(PLOOP, *arguments, **options)


def main():
    wanted = sys.argv[1] if len(sys.argv) > 1 else ''
    failed = 0
    for name, function in _behaviours:
        if wanted not in name:
            continue
        with tempfile.TemporaryDirectory(prefix='ploopkit-test.') as directory:
            os.chdir(directory)
            try:
                function()
                print(f'ok {name}', flush=True)
            except Exception:
                failed += 1
                traceback.print_exc()
                print(f'FAILED {name}', flush=True)
            os.chdir('/')
    sys.exit(failed != 0)
