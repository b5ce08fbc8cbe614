#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""
A whole machine dies: a guest runs the random history of writer.c on a filesystem of its own disk and is killed
(QEMU, emulated, so no /dev/kvm is needed). What the guest's kernel had not sent to its disk is lost, and what it
was sending may have arrived in part. Then the host mounts the disk and examines it as after the other cuts.

    guest.py        ROUNDS= cuts (4), SEED= chooses the history, GUEST_FS=ext4|xfs

Needs root, PLOOP and TEST_GUEST (the programs under test), and the packages of packaging/packages.soak; else it says
what is missing and is skipped. The kernel is Debian's, downloaded and unpacked, never installed.
"""
import ctypes
import glob
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time

KERNEL = 'linux-image-cloud-amd64'
MODULES = ['drivers/virtio/virtio_ring', 'drivers/virtio/virtio', 'drivers/virtio/virtio_pci_modern_dev',
           'drivers/virtio/virtio_pci_legacy_dev', 'drivers/virtio/virtio_pci', 'drivers/block/virtio_blk']
BOOT_SECONDS = 180

# ivshmem is the PCI device 1af4:1110; its memory is the model.
INIT = '''#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /tmp {where}
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod /lib/modules/$module.ko || echo "failed: insmod $module"; done
for try in 1 2 3 4 5 6 7 8 9; do [ -b /dev/vda ] || /bin/busybox sleep 1; done
/bin/busybox mount -t {fs} -o noatime /dev/vda {where} || {{ echo "failed: mount"; /bin/busybox sleep 1000; }}
for device in /sys/bus/pci/devices/*; do
    if [ "$(/bin/busybox cat $device/device)" = 0x1110 ]; then
        echo 1 > $device/enable
        /test-guest write $device/resource2 /ploop $(/bin/busybox sed 's/.*seed=//' /proc/cmdline)
    fi
done
echo "failed: the writer ended"
/bin/busybox sleep 1000
'''


def skip(reason):
    print('skipped: ' + reason)
    sys.exit(77)


def run(*args, **kw):
    return subprocess.run(args, check=True, **kw)


def find_kernel(work):
    """The kernel's package, unpacked; kept where KERNELS says, if it does."""
    for line in subprocess.run(['apt-cache', 'depends', KERNEL], capture_output=True, text=True).stdout.splitlines():
        if 'Depends: linux-image-' in line:
            package = line.split()[1]
            break
    else:
        skip(f'no package {KERNEL} is known here')
    cache = os.path.join(os.environ.get('KERNELS', work), package)
    if not os.path.isdir(cache):
        if subprocess.run(['apt-get', '-q', 'download', package], cwd=work, stderr=subprocess.DEVNULL).returncode != 0:
            skip(f'{package} cannot be downloaded')
        run('dpkg', '-x', *glob.glob(f'{work}/linux-image-*.deb'), f'{work}/kernel')
        os.makedirs(os.path.dirname(cache), exist_ok=True)
        shutil.move(f'{work}/kernel', cache)
    return glob.glob(f'{cache}/boot/vmlinuz-*')[0], glob.glob(f'{cache}/lib/modules/*/kernel')[0]


def copy_program(program, root, name):
    """A program and the libraries it is linked with."""
    shutil.copy(program, os.path.join(root, name))
    for line in run('ldd', program, capture_output=True, text=True).stdout.splitlines():
        path = next((word for word in line.split() if word.startswith('/')), None)
        if path:
            os.makedirs(root + os.path.dirname(path), exist_ok=True)
            shutil.copy(path, root + path)


def make_initramfs(work, modules, where, fs):
    root = os.path.join(work, 'root')
    for folder in ('bin', 'lib/modules'):
        os.makedirs(os.path.join(root, folder))
    shutil.copy(shutil.which('busybox'), root + '/bin/busybox')
    copy_program(os.environ['PLOOP'], root, 'ploop')
    copy_program(os.environ['TEST_GUEST'], root, 'test-guest')
    wanted = MODULES + (['lib/libcrc32c', 'fs/xfs/xfs'] if fs == 'xfs' else [])
    for module in wanted:
        shutil.copy(f'{modules}/{module}.ko', root + '/lib/modules')
    with open(root + '/init', 'w') as f:
        f.write(INIT.format(where=where, fs=fs, modules=' '.join(os.path.basename(m) for m in wanted)))
    os.chmod(root + '/init', 0o755)
    with open(work + '/initramfs', 'wb') as f:
        names = run('find', '.', '-print0', cwd=root, capture_output=True).stdout
        run('cpio', '--quiet', '-0', '-o', '-H', 'newc', cwd=root, input=names, stdout=f)
    shutil.rmtree(root)


class Guest:
    def __init__(self, work, kernel, disk, model, seed):
        memory = f'memory-backend-file,id=model,share=on,mem-path={model},size={os.path.getsize(model)}'
        self.process = subprocess.Popen(
            ['qemu-system-x86_64', '-M', 'pc,accel=tcg', '-cpu', 'max', '-m', '512', '-nodefaults', '-display', 'none',
             '-no-reboot', '-serial', 'stdio', '-kernel', kernel, '-initrd', work + '/initramfs',
             '-append', f'console=ttyS0 quiet panic=-1 seed={seed}',
             '-drive', f'file={disk},format=raw,if=virtio,cache=none',
             '-object', memory, '-device', 'ivshmem-plain,memdev=model'],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
        self.lines = []
        self.told = threading.Event()
        threading.Thread(target=self.listen, daemon=True).start()

    def listen(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip())
            if line.startswith(('writing', 'failed:')):
                self.told.set()
        self.told.set()

    def live(self, seconds):
        """Boots, writes for so long, dies."""
        try:
            self.told.wait(BOOT_SECONDS)
            if 'writing' not in self.lines:
                raise RuntimeError('the guest does not come to writing:\n' + '\n'.join(self.lines[-20:]))
            time.sleep(seconds)
        finally:
            self.process.kill()
            self.process.wait()


def examine(model):
    r = subprocess.run([os.environ['TEST_GUEST'], 'examine', model], capture_output=True, text=True)
    print((r.stdout + r.stderr).strip(), flush=True)
    return r.returncode == 0


def cut_often(work, rounds, fs):
    kernel, modules = find_kernel(work)
    where, disk, model = f'{work}/mnt', f'{work}/disk', f'{work}/model'
    os.mkdir(where)
    make_initramfs(work, modules, where, fs)
    with open(disk, 'wb') as f:
        f.truncate((320 if fs == 'xfs' else 96) << 20)
    run(f'mkfs.{fs}', '-q', disk)
    mount = ['mount', '-o', 'loop,noatime', disk, where]
    run(*mount)
    run(os.environ['TEST_GUEST'], 'make', model, where, str(random.randrange(6)))
    run('umount', where)
    for n in range(rounds):
        start = time.monotonic()
        Guest(work, kernel, disk, model, random.randrange(1 << 28)).live(0.5 + 5 * random.random())
        run(*mount)
        good = examine(model)
        run('umount', where)
        print(f'cut {n + 1} of {rounds}: {time.monotonic() - start:.1f} s', flush=True)
        if not good:
            return 1
    return 0


def main():
    if os.geteuid() != 0:
        skip('needs root')
    for program in ('qemu-system-x86_64', 'busybox', 'cpio', 'apt-get', 'dpkg'):
        if not shutil.which(program):
            skip(f'{program} is missing; `make soak-deps` installs what this needs')
    libc = ctypes.CDLL(None, use_errno=True)
    # A mount namespace of our own, private: whatever becomes of us, no mount is left.
    if libc.unshare(0x20000) != 0 or libc.mount(None, b'/', None, 0x44000, None) != 0:
        skip('needs mount namespaces')
    seed = int(os.environ.get('SEED', '1'))
    fs = os.environ.get('GUEST_FS', 'ext4')
    random.seed(seed)
    print(f'{fs}, seed {seed}')
    with tempfile.TemporaryDirectory(prefix='ploopkit-guest-', dir=os.environ.get('TMPDIR', '/var/tmp')) as work:
        return cut_often(work, int(os.environ.get('ROUNDS', '4')), fs)


if __name__ == '__main__':
    sys.exit(main())
