#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""compare.py PLOOP ORIGINAL DIRECTORY: what three programs make of the images of bad/, as Markdown on stdout.

PLOOP is the program built here, ORIGINAL ploop 1.15, DIRECTORY an empty one on tmpfs (1.15 calls every sparse file
on ext4 damaged). Each program first only looks, then repairs as hard as it can. What the repair came to is said
by judge.py, which shares no code with any of them. Chains are left out: qemu-img reads single images only.
"""

import json
import os
import re
import shutil
import subprocess
import sys

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
        return 'hangs' if self.rc is None else f'signal {-self.rc}' if self.rc < 0 else str(self.rc)


class Tool:
    """How a program is asked to look and to repair, and whether what it said means that it found something."""

    def __init__(self, title, look, repair, found):
        self.title, self.look, self.repair, self.found = title, look, repair, found
        self.totals = dict.fromkeys(('found', 'repaired', 'lost', 'died'), 0)


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
    if look.died or repair.died:
        tool.totals['died'] += 1
        words = f'**{(look if look.died else repair).exit()}**, {words}'
    found = look.died or tool.found(look)
    tool.totals['found'] += found and not look.died
    if kind:
        tool.totals[kind] += 1
    return f'{look.exit()} {"found" if found else "**missed**"}; {repair.exit()} {words}'


def main(ploop, original, directory):
    chosen = [case for case in recipe.cases() if not (case.good or case.is_chain() or case.options)]
    all_tools = tools(ploop, original)
    rows = [[case.name, case.title()] + [try_tool(case, tool, directory) for tool in all_tools] for case in chosen]
    version = Ran('qemu-img', '--version').out.split()[2]
    print(HEAD.format(n=len(chosen), qemu=version))
    print('| | ' + ' | '.join(tool.title for tool in all_tools) + ' |\n|---|' + '---|' * len(all_tools))
    for key, words in TOTALS:
        print(f'| {words} | ' + ' | '.join(str(tool.totals[key]) for tool in all_tools) + ' |')
    print(TABLE + '| image | fault | ' + ' | '.join(tool.title for tool in all_tools) + ' |\n|---|---|' + '---|' * len(all_tools))
    for row in rows:
        print('| ' + ' | '.join(row) + ' |')


HEAD = """# Check, compared

What three programs make of the {n} damaged images of `tests/images/bad` (chains are left out: qemu-img reads single
images only). Made by `tests/images/compare.py`; programs: this one, ploop 1.15 as in Debian 12, qemu-img {qemu}.

Each program first only looks (`check -f -r`; `check -f -r -c`; `check`), then repairs a fresh copy as hard as it can
(`check -F -d`; `check -F -c -d`; `check -r all`). A cell says: exit code of the look, whether anything was found; exit
code of the repair, and what it came to. *Repaired* means that an independent reader (`tests/images/judge.py`) finds the
image sound and every cluster a guest should read as it was; *lost* that a cluster is not what it was any more, whatever
the program said. A guest that reads zeros where the data itself is missing from the file has lost nothing by a repair.
"""
TOTALS = (('found', 'found'), ('repaired', 'repaired without loss'), ('lost', 'repair lost clusters that were there'),
          ('died', 'crashed or hung'))
TABLE = '''
## Image by image

'''

if __name__ == '__main__':
    main(*sys.argv[1:])
