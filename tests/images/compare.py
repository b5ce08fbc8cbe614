#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""compare.py PLOOP ORIGINAL DIRECTORY: what three programs make of the images of bad/, as Markdown on stdout.

PLOOP is the program built here, ORIGINAL ploop 1.15, DIRECTORY one on tmpfs (1.15 calls every sparse file
on ext4 damaged). Each program first only looks, then repairs as hard as it can. What the repair came to is said
by judge.py, which shares no code with any of them. Chains are left out: qemu-img reads single images only.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import judge
import recipe

SECONDS = 20
# 1.15 reads past its arguments and crashes unless something large follows them.
ENVIRONMENT = {**os.environ, 'PADDING': 'x' * 12000}
INFORMATION = re.compile(r'^(Hole at block \d+|Reopen rw .*|Image is clean.*)$')


class Ran:
    def __init__(self, *command):
        try:
            ran = subprocess.run(command, capture_output=True, text=True, errors='replace', timeout=SECONDS,
                                 env=ENVIRONMENT)
            self.rc, self.out, self.err = ran.returncode, ran.stdout, ran.stderr
        except subprocess.TimeoutExpired:
            self.rc, self.out, self.err = None, '', ''
        self.died = self.rc is None or self.rc < 0 or self.rc >= 128

    def exit(self):
        return '**hangs**' if self.rc is None else f'**signal {-self.rc}**' if self.rc < 0 else str(self.rc)


class Tool:
    """How a program is asked to look and to repair, and whether what it said means that it found something."""

    def __init__(self, title, look, repair, found):
        self.title, self.look, self.repair, self.found = title, look, repair, found
        self.totals = dict.fromkeys(('found', 'repaired', 'lost', 'died', 'alarms'), 0)


def found_by_us(ran):
    return any(finding['rank'] != 'info' for finding in json.loads(ran.out)['findings'])


def found_by_original(ran):
    lines = (ran.out + ran.err).splitlines()
    return ran.rc != 0 or any(line.strip() and not INFORMATION.match(line) for line in lines)


def tools(ploop, original):
    return [
        Tool('`ploop check`', (ploop, 'check', '-f', '-r', '--json'), (ploop, 'check', '-F', '-d'), found_by_us),
        Tool('ploop 1.15', (original, 'check', '-f', '-r', '-c'), (original, 'check', '-F', '-c', '-d'),
             found_by_original),
        Tool('qemu-img', ('qemu-img', 'check', '-f', 'parallels'), ('qemu-img', 'check', '-f', 'parallels', '-r', 'all'),
             lambda ran: ran.rc != 0),
    ]


def at(path, offset, length):
    with open(path, 'rb') as file:
        return os.pread(file.fileno(), length, offset).ljust(length, b'\0')


def survived(disk, slot, wanted, sound):
    """The cluster reads as meant or, in an image that nobody opens, still lies where it was."""
    if judge.opens(disk.top.path) and judge.cluster(disk.top.path, slot) == wanted:
        return True
    image, cluster = disk.clusters()[slot]
    return not sound and at(image.path, cluster * image.bytes, image.bytes) == wanted


def verdict(disk, before):
    """What the repair came to; `before` is what a guest should read."""
    faults = judge.faults(disk.top.path)
    lost = [slot for slot, wanted in before.items() if not survived(disk, slot, wanted, not faults)]
    if lost:
        return 'lost', f'**{len(lost)} of {len(before)} clusters lost**'
    return ('repaired', 'repaired') if not faults else ('', 'not repaired')


def try_tool(case, tool, directory):
    """One cell of the table."""
    disk = case.make(os.path.join(directory, 'look'))
    look = Ran(*tool.look, disk.to_check)
    shutil.rmtree(disk.directory)
    disk = case.make(os.path.join(directory, 'repair'))
    before = {slot: at(image.path, cluster * image.bytes, image.bytes)
              for slot, (image, cluster) in disk.clusters().items()}
    repair = Ran(*tool.repair, disk.to_check)
    kind, words = verdict(disk, before)
    shutil.rmtree(disk.directory)
    found = not look.died and tool.found(look)
    tool.totals['died'] += look.died or repair.died
    tool.totals['found'] += found
    if kind:
        tool.totals[kind] += 1
    looked = look.exit() if look.died else f'{look.exit()} {"found" if found else "**missed**"}'
    return f'{looked}; {repair.exit()} {words}'


def try_good(case, tool, directory):
    disk = case.make(os.path.join(directory, 'look'))
    tool.totals['alarms'] += tool.found(Ran(*tool.look, disk.to_check))
    shutil.rmtree(disk.directory)


def main(ploop, original, above):
    with tempfile.TemporaryDirectory(dir=above) as directory:
        compare(tools(ploop, original), directory)


def compare(all_tools, directory):
    single = [case for case in recipe.cases() if not (case.is_chain() or case.options)]
    chosen, good = [case for case in single if not case.good], [case for case in single if case.good]
    rows = [[case.name, case.title()] + [try_tool(case, tool, directory) for tool in all_tools] for case in chosen]
    for case in good:
        for tool in all_tools:
            try_good(case, tool, directory)
    version = Ran('qemu-img', '--version').out.split()[2]
    print(HEAD.format(n=len(chosen), good=len(good), qemu=version))
    print('| | ' + ' | '.join(tool.title for tool in all_tools) + ' |\n|---|' + '---|' * len(all_tools))
    for key, words in TOTALS:
        print(f'| {words.format(n=len(chosen), good=len(good))} | ' + ' | '.join(str(tool.totals[key]) for tool in all_tools) + ' |')
    print(TABLE + '| image | fault | ' + ' | '.join(tool.title for tool in all_tools) + ' |\n|---|---|' + '---|' * len(all_tools))
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')


HEAD = """# Check, compared

What three programs make of the {n} damaged images of `tests/images/bad` that are single files, and of {good} sound ones:
this one, ploop 1.15 as in Debian 12, and qemu-img {qemu}. `tests/images/compare.py` wrote this page.

Each program first only looks (`check -f -r`, `check -f -r -c`, `check`), then repairs a fresh copy as hard as it can
(`check -F -d`, `check -F -c -d`, `check -r all`). A cell holds the exit code of the look and whether anything was found,
then the exit code of the repair and what it came to:

- *repaired*: an independent reader (`tests/images/judge.py`) finds the image sound, and every cluster that a guest should
  read is as it was. Data that is missing from the file is not held against anybody.
- *lost*: a cluster that was there is not what it was, whatever the program said.
- *not repaired*: neither. Where the header can be read in two ways, that is the right answer.

For ploop 1.15 the mark `v2.1` is that of an open image: it exits with 37 for each `extension-...`, which is counted as
found, and for sound images with a bitmap, which is a false alarm. `extension-forbids` must not be changed at all: the two
others call it repaired because they drop the extension.
"""
TOTALS = (('found', 'found, of {n}'), ('repaired', 'repaired without loss'),
          ('lost', 'repair lost clusters that were there'), ('died', 'crashed or hung'),
          ('alarms', 'sound ones called damaged, of {good}'))
TABLE = '''
## Image by image

'''

if __name__ == '__main__':
    main(*sys.argv[1:])
