#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What must come of tests/images/samples.tar.xz: images that other programs made, or that have a damage."""

import os
import re
import struct
import subprocess
import sys
import tarfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, '..', 'lib'))
from behaviour import PLOOP, behaviour, check, main, ploop, requires, run  # noqa: E402

SAMPLES = os.path.join(HERE, '..', 'images', 'samples.tar.xz')
CLUSTER = 32768
A = '{aaaaaaaa-0000-0000-0000-000000000001}'


def repaired_by_force(options):
    """Found whenever it is looked for, mended by -F."""
    if not options:
        return 0, False  # closed cleanly, and nobody asked to look
    return (0, True) if '-F' in options else (11, False)


# Where the outcome of `ploop check` is meant to differ from what 1.15 did: (exit code, modified) by options, and why.
DIFFERENT = {
    # v2.1 is a clean close; 1.15 calls it dirty and destroys the change tracking.
    'closed21.hds': lambda options: (0, False),
    # The entry behind the last one of the disk is set: 1.15 is off by one there.
    'at_bd_end.hds': lambda options: (11 if '-r' in options else 0, '-r' not in options and len(options) > 0),
    # Nobody writes to an image whose flag says that a conversion runs, so a stray one is cleared.
    'convert_clean.hds': lambda options: (0, '-r' not in options and len(options) > 0),
    # The header claims more sectors than its table has entries for: every reader but 1.15 refuses it.
    # The BAT tells the size, which -F takes.
    'sizehi.hds': lambda options: (0, True) if '-F' in options else (11, False),
    # 1.15 leaves these be, and ignores them with -F: a write to one slot then shows in the other, or in the table.
    'dup.hds': lambda options: repaired_by_force(options),
    'into_hdr.hds': lambda options: repaired_by_force(options),
    # Size and entries agree on where data starts.
    'badfirst.hds': lambda options: (0, True) if '-F' in options else (11, False),
    'zerofirst.hds': lambda options: (0, True) if '-F' in options else (11, False),
    # The file ends inside its table: a clean mark does not make that a disk, so it is said without -f too.
    # What is left of the table is empty, so -F gives it back the rest.
    'short.hds': lambda options: (0, True) if '-F' in options else (6, False),
}


def unpack(folder):
    """The samples of one folder, in the current directory."""
    with tarfile.open(SAMPLES) as tar:
        tar.extractall(members=[m for m in tar.getmembers() if m.name.split('/')[0] == folder])


def contents(xml):
    """{cluster: (tag, number)} of the clusters that are not zero."""
    ploop('export', '--to', 'raw', xml, 'flat.raw')
    with open('flat.raw', 'rb') as f:
        data = f.read()
    os.unlink('flat.raw')
    found = {}
    for number in range(len(data) // CLUSTER):
        cluster = data[number * CLUSTER:(number + 1) * CLUSTER]
        if any(cluster):
            found[number] = (cluster[0], cluster[1])
    return found


def slots(image):
    """{virtual cluster: cluster in the file} as the image's BAT says."""
    with open(image, 'rb') as f:
        header = f.read(64)
        sectors, count = struct.unpack('<II', header[28:36])
        entries = struct.unpack(f'<{count}I', f.read(4 * count))
    unit = sectors if header.startswith(b'WithoutFreeSpace') else 1
    return {slot: entry // unit for slot, entry in enumerate(entries) if entry}


RESOLVED = {0: (0xC0, 0), 5: (0xB0, 5), 6: (0xC0, 6), 7: (0xC0, 7), 200: (0xA0, 200)}


@behaviour('chains made by 1.15 resolve to the newest cluster of each')
def _():
    unpack('chains')
    for name in sorted(os.listdir('chains')):
        found = contents(f'chains/{name}/DiskDescriptor.xml')
        check(found == RESOLVED, f'{name}: {found}')


@behaviour('merging all leaves one file, laid out as 1.15 lays it out')
def _():
    unpack('chains')
    for version in ('v1', 'v2'):
        here = f'chains/{version}-chain3-data'
        ploop('snapshot-merge', '-A', f'{here}/DiskDescriptor.xml')
        check(contents(f'{here}/DiskDescriptor.xml') == RESOLVED, f'{version}: other contents')
        found = slots(f'{here}/root.hds')
        check(found == {0: 1, 5: 2, 200: 3, 6: 4, 7: 5}, f'{version}: {found}')
        check(not [name for name in os.listdir(here) if name.startswith('root.hds.')], 'merged files left')


def same_result(ours, theirs):
    """The same files hold the same clusters, and the descriptors name the same states."""
    def files(directory):
        return sorted(name for name in os.listdir(directory) if name.startswith('root.hds'))

    def states(directory):
        fields = 'parent_uuid,current,uuid'
        return ploop('snapshot-list', '-H', '-o', fields, f'{directory}/DiskDescriptor.xml')

    check(files(ours) == files(theirs), f'{files(ours)} and {files(theirs)}')
    check(states(ours) == states(theirs), f'{states(ours)} and {states(theirs)}')
    for name in files(ours):
        owned, wanted = slots(f'{ours}/{name}').keys(), slots(f'{theirs}/{name}').keys()
        check(owned == wanted, f'{name} owns {sorted(owned)}, not {sorted(wanted)}')
    check(contents(f'{ours}/DiskDescriptor.xml') == RESOLVED, 'other contents')


@behaviour('merging the top and deleting the base come to what 1.15 made of them')
def _():
    unpack('chains')
    for verb, result in ((('snapshot-merge',), 'after-merge-top'),
                         (('snapshot-delete', '-u', A), 'after-delete-base')):
        run('cp', '-r', 'chains/v1-chain3-data', result)
        ploop(*verb, f'{result}/DiskDescriptor.xml')
        same_result(result, f'chains/v1-chain3-{result}')


def matrix():
    """(image, options, exit code, was modified) of each run of 1.15's check."""
    with open('handmade/ploop115-check-matrix.log', encoding='utf-8') as f:
        log = f.read()
    for run_ in re.split(r'^== ', log, flags=re.M)[1:]:
        image, options = re.match(r'(\S+) \[(.*)\]', run_).groups()
        yield image, options.split(), int(re.search(r'^rc=(\d+)', run_, re.M).group(1)), '(modified)' in run_


@behaviour('each damage gives the exit code of 1.15 from check')
def _():
    unpack('handmade')
    wrong = []
    for image, options, wanted, modified in matrix():
        run('cp', f'handmade/{image}', 'x.hds')
        ran = subprocess.run([PLOOP, 'check', *options, 'x.hds'], capture_output=True, text=True)
        same = subprocess.run(['cmp', '-s', f'handmade/{image}', 'x.hds']).returncode == 0
        if image in DIFFERENT:
            wanted, modified = DIFFERENT[image](options)
        if ran.returncode != wanted or same == modified:
            wrong.append(f'{image} {options}: exit {ran.returncode}, wanted {wanted}; '
                         f'modified {not same}, wanted {modified}\n{ran.stdout}{ran.stderr}')
    check(not wrong, '\n'.join(wrong))


@behaviour('check never trims a valid format extension away')
def _():
    unpack('handmade')
    for kind in ('data', 'allones', 'allzero'):
        run('cp', f'handmade/cbt-{kind}.hds', 'x.hds')
        ploop('check', '-f', '-c', '-d', 'x.hds')
        run('cmp', f'handmade/cbt-{kind}.hds', 'x.hds')


@behaviour('disks made by 1.15 have their size, cluster and version')
def _():
    unpack('ploop115')
    for name, size, blocks, version in (('v1-empty-8M', 16384, 2048, 1), ('v1-empty-8M-bs64', 16384, 64, 1),
                                        ('v1-prealloc-1M-bs64', 2048, 64, 1), ('raw-1M', 2048, 2048, 0),
                                        ('v2-empty-1T', 1 << 31, 2048, 2), ('v2-empty-8M', 16384, 2048, 2),
                                        ('v2-prealloc-1M-bs64', 2048, 64, 2),
                                        ('v2-snap1-bs64', 16384, 64, 2)):
        said = ploop('info', '-s', f'ploop115/{name}/DiskDescriptor.xml')
        for line in (f'size:\t\t{size}\n', f'blocksize:\t{blocks}\n', f'fmt_version:\t{version}\n'):
            check(line in said, f'{name}: no {line!r} in {said}')
        ploop('check', f'ploop115/{name}/DiskDescriptor.xml')


@behaviour('snapshot-list prints the bytes that 1.15 printed')
def _():
    unpack('ploop115')
    for name in ('v1-snap3-branch', 'v1-snap3-temporary'):
        here = f'{os.getcwd()}/ploop115/{name}'
        for options, file in (((), 'snapshot-list.out'), (('-s',), 'snapshot-list-s.out')):
            with open(f'{here}/{file}', encoding='utf-8') as f:
                wanted = f.read().replace('/DIR', here)
            said = ploop('snapshot-list', *options, f'{here}/DiskDescriptor.xml')
            check(said == wanted, f'{name} {options}: got\n{said}\nwanted\n{wanted}')


@behaviour('images made by QEMU hold what QEMU reads in them')
def _():
    requires('qemu-img')
    unpack('qemu')
    for name in sorted(os.listdir('qemu')):
        os.mkdir('v')
        run('cp', f'qemu/{name}', 'v/root.hds')
        run('qemu-img', 'convert', '-f', 'parallels', '-O', 'raw', f'qemu/{name}', 'theirs.raw')
        ploop('restore-descriptor', 'v', 'v/root.hds')
        ploop('export', '--to', 'raw', 'v/DiskDescriptor.xml', 'ours.raw')
        run('cmp', 'ours.raw', 'theirs.raw')
        run('rm', '-r', 'v', 'ours.raw')


@behaviour('a descriptor with a fault is refused; what 1.15 forgave is forgiven')
def _():
    unpack('xml')
    unpack('ploop115')
    run('cp', 'ploop115/v1-empty-8M/root.hds', 'xml')
    forgiven = {'plain-ok', 'topmissing', 'othertop', 'noshots'}
    for file in sorted(name for name in os.listdir('xml') if name.endswith('.xml')):
        ran = subprocess.run([PLOOP, 'snapshot-list', f'xml/{file}'], capture_output=True, text=True)
        accepted = ran.returncode == 0
        check(accepted == (file[:-4] in forgiven), f'{file}: exit {ran.returncode}\n{ran.stdout}{ran.stderr}')
        check(accepted or len(ran.stderr.strip().splitlines()) == 1 and file in ran.stderr,
              f'{file}: not one line that names the file: {ran.stderr}')


main()
