#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may talk to ploopd, and what they may do: sockets, TLS, SASL and polkit, seen by libvirt's own clients."""
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, '..', 'lib'), HERE]
from behaviour import behaviour, check, main, requires, run, skip  # noqa: E402
import pools  # noqa: E402
from pools import PLOOPD, Daemon, get, mounted, put, wait_until  # noqa: E402
from wire import *  # noqa: E402,F403

POLKITD = '/usr/lib/polkit-1/polkitd'
POLICY = os.path.join(HERE, '..', '..', 'data', 'polkit', 'ploopd.policy')
NOBODY, OTHER = 65534, 65533
POOL = "<pool type='dir'><name>p</name><target><path>%s</path></target></pool>"

requires('virsh', 'setpriv', 'unshare', 'certtool', 'saslpasswd2', 'dbus-daemon')
if not os.path.exists(POLKITD):
    skip('needs polkitd')
if os.geteuid() != 0:
    skip('needs root: it acts as several users')
# libsasl's DIGEST-MD5 plugin leaks at each login. All other tests look for leaks.
os.environ['ASAN_OPTIONS'] = os.environ.get('ASAN_OPTIONS', '') + ':detect_leaks=0'
if 'PRIVATE' not in os.environ:
    # Of our own: what polkit and the bus read, and their end with ours.
    os.environ['PRIVATE'] = '1'
    os.execvp('unshare', ['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--mount-proc',
                          sys.executable, os.path.abspath(__file__), *sys.argv[1:]])
try:
    import libvirt  # noqa: E402
except ImportError:
    skip('needs python3-libvirt')


class service(Daemon):
    """ploopd with that configuration, in a directory that every user may enter."""

    def __init__(self, config, program=PLOOPD):
        os.chmod('.', 0o755)
        put('ploopd.conf', config.encode())
        super().__init__('--config', 'ploopd.conf')
        self.program = program

    def __enter__(self):
        pools.PLOOPD = self.program
        self.began = os.path.getsize(f'{self.state}.log') if os.path.exists(f'{self.state}.log') else 0
        try:
            return super().__enter__()
        finally:
            pools.PLOOPD = PLOOPD

    def __exit__(self, kind, *rest):
        super().__exit__(kind, *rest)
        check(kind or self.program != PLOOPD or self.process.returncode == 0, f'it ended with {self.process.returncode}: {self.said()}')

    def said(self):
        return get(f'{self.state}.log')[self.began:].decode()

    def refuses(self, words, action, *arguments, **options):
        """That fails, and the log says in one line of it whom it has refused, and why."""
        before = len(self.said())
        result = action(*arguments, **options)
        wait_until(f'the log says "{words}"', lambda: any(
            line.startswith('ploopd: client ') and ': refused ' in line and words in line
            for line in self.said()[before:].splitlines()), seconds=5)
        return result

    def answers(self):
        """On all of its sockets."""
        return 'ploopd: ready: ' in self.said()


def uri(daemon, read_only=False):
    return f'storage:///system?socket={daemon.socket}' + ('-ro' if read_only else '')


def virsh(where, *words, uid=0, rc=0):
    become = [] if uid == 0 else ['setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups']
    return run(*become, 'virsh', '-c', where, *words, rc=rc, stdin=subprocess.DEVNULL, timeout=30,
               env={**os.environ, 'HOME': '/nonexistent', 'XDG_CONFIG_HOME': '/nonexistent', 'XDG_CACHE_HOME': '/nonexistent'})


def code_of(call, *arguments):
    """libvirt's number of the error; 0: there was none."""
    libvirt.registerErrorHandler(lambda ctx, err: None, None)
    try:
        call(*arguments)
    except libvirt.libvirtError as error:
        return error.get_error_code()
    return 0


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


PROCEDURES = [*range(3, 66), *range(71, 450)]  # what OPEN, CLOSE and AUTH_* are not


def codes(answer):
    """libvirt's numbers in an answer: of the error, and of who tells it; zeros: it was carried out."""
    check(answer is not None, 'the connection has ended')
    status, payload = answer
    return struct.unpack('>ii', payload[:8]) if status == ERROR else (0, 0)


class TcpPeer(Peer):
    def __init__(self, port, timeout=10):
        self.socket = socket.create_connection(('localhost', port), timeout)
        self.serial = 0


# ---- unix sockets ----

@behaviour('the sockets are ours alone, or have the mode and group they are given')
def _():
    with service('') as daemon:
        for path in (daemon.socket, daemon.socket + '-ro'):
            check(stat.S_IMODE(os.stat(path).st_mode) == 0o700, oct(os.stat(path).st_mode))
        check('Permission denied' in virsh(uri(daemon), 'pool-list', uid=NOBODY, rc=1), 'somebody came in')
    check(not os.path.exists(daemon.socket) and not os.path.exists(daemon.socket + '-ro'), 'they are left behind')
    with service('[daemon]\nsocket_mode=0660\nsocket_group=daemon\n') as daemon:
        for path in (daemon.socket, daemon.socket + '-ro'):
            found = os.stat(path)
            check((stat.S_IMODE(found.st_mode), found.st_gid) == (0o660, 1), f'{oct(found.st_mode)} {found.st_gid}')


@behaviour('where users are listed, only they and root may connect, whatever the mode of the socket')
def _():
    with service('[daemon]\nsocket_mode=0777\nusers=none\n') as daemon:
        virsh(uri(daemon), 'pool-list')
        daemon.refuses(f'refused user {NOBODY}, process ', virsh, uri(daemon), 'pool-list', uid=NOBODY, rc=1)
        check(connect_as(NOBODY, uri(daemon))[0] == 45, 'not 45')
    with service(f'[daemon]\nsocket_mode=0777\nusers={NOBODY}\n') as daemon:
        for read_only in (False, True):
            virsh(uri(daemon, read_only), 'pool-list', uid=NOBODY)
            said = daemon.refuses(f'refused user {OTHER}, ', virsh, uri(daemon, read_only), 'pool-list', uid=OTHER, rc=1)
            check("this user is not on ploopd's list of users" in said, said)


@behaviour('the list of users holds for processes of another PID namespace, too')
def _():
    program = os.path.abspath('deeper')
    put(program, f'#!/bin/sh\nexec unshare --pid --fork --kill-child {PLOOPD} "$@"\n'.encode())
    os.chmod(program, 0o755)
    with service(f'[daemon]\nsocket_mode=0777\nusers={NOBODY}\n', program) as daemon:
        for uid in (0, NOBODY):
            virsh(uri(daemon), 'pool-list', uid=uid)
        daemon.refuses(f'user {OTHER}, process 0', virsh, uri(daemon), 'pool-list', uid=OTHER, rc=1)
        daemon.kill()


@behaviour('nobody but root can say that he speaks for somebody else')
def _():
    def as_root(peer):
        return peer.call(419, word(1) + text('unix-user-id') + struct.pack('>IQ', 4, 0) + word(0))

    with service(f'[daemon]\nsocket_mode=0777\nusers={NOBODY}\n') as daemon:
        with Peer(daemon.socket) as peer:
            peer.open()
            check(as_root(peer)[0] == OK, 'root may not')
        os.seteuid(NOBODY)
        try:
            peer = Peer(daemon.socket)
        finally:
            os.seteuid(0)
        check(peer.open()[0] == OK, 'nobody may not connect')
        status, error = as_root(peer)
        check(status == ERROR and error_code(error) == 88, 'nobody became root')
        peer.socket.close()


@behaviour('through the read-only socket nothing changes and nothing is downloaded')
def _():
    with service('') as daemon:
        os.mkdir('p')
        conn = daemon.connect()
        pool = conn.storagePoolDefineXML(POOL % os.path.abspath('p'))
        pool.create()
        pool.createXML('<volume><name>v</name><capacity>1048576</capacity></volume>')
        for words in (['pool-destroy', 'p'], ['vol-delete', 'v', 'p'], ['vol-download', 'v', 'out', 'p'], ['pool-refresh', 'p']):
            check('read' in virsh(uri(daemon, True), *words, rc=1), words)
        check('v' in virsh(uri(daemon, True), 'vol-list', 'p'), 'it may not even look')
        conn.close()


@behaviour('each procedure that changes something is refused with code 29 to who may only read, and no other is')
def _():
    changes = {*range(75, 84), 90, 93, 94, 125, 165, 208, 209, 259, 260, 419}
    with service('') as daemon:
        for path, flags in ((daemon.socket + '-ro', 0), (daemon.socket + '-ro', 1), (daemon.socket, 1)):
            with Peer(path) as peer:
                check(peer.open(flags)[0] == OK, 'cannot open')
                refused = {procedure for procedure in PROCEDURES if codes(peer.call(procedure)) == (29, 18)}
                check(refused == changes, refused ^ changes)


# ---- TLS ----

def certificate(name, authority, *lines, cn=None):
    """NAMEcert.pem and NAMEkey.pem, signed by AUTHORITYcert.pem, or by itself."""
    put(f'{name}.tmpl', '\n'.join([f'cn = {cn or name}', *lines, 'expiration_days = 2' * ('late' != name), '']).encode())
    run('certtool', '--generate-privkey', '--key-type', 'rsa', '--bits', '2048', '--outfile', f'{name}key.pem')
    how = ['--generate-self-signed'] if authority == name else [
        '--generate-certificate', '--load-ca-certificate', f'{authority}cert.pem', '--load-ca-privkey', f'{authority}key.pem']
    run('certtool', *how, '--load-privkey', f'{name}key.pem', '--template', f'{name}.tmpl', '--outfile', f'{name}cert.pem')


def wallet(name, client=None, authority='ca'):
    """A directory for pkipath= with that client's certificate, or with none."""
    os.mkdir(name)
    put(f'{name}/cacert.pem', get(f'{authority}cert.pem'))
    for kind in ('cert', 'key') if client else ():
        put(f'{name}/client{kind}.pem', get(f'{client}{kind}.pem'))
    return os.path.abspath(name)


def authorities():
    for name in ('ca', 'stranger'):  # of the same name, or clients would not send what it has signed
        certificate(name, name, 'ca', 'cert_signing_key', cn='ca')
    certificate('localhost', 'ca', 'dns_name = localhost', 'ip_address = 127.0.0.1', 'tls_www_server', 'signing_key', 'encryption_key')
    for name, authority in (('fred', 'ca'), ('mary', 'ca'), ('eve', 'stranger')):
        certificate(name, authority, 'organization = ploopkit', 'tls_www_client', 'signing_key', 'encryption_key')
    certificate('late', 'ca', 'activation_date = "2020-01-01 00:00:00"', 'expiration_date = "2020-01-02 00:00:00"', 'tls_www_client')
    put('crl.tmpl', b'crl_next_update = 2\ncrl_number = 1\n')
    run('certtool', '--generate-crl', '--load-ca-privkey', 'cakey.pem', '--load-ca-certificate', 'cacert.pem',
        '--load-certificate', 'fredcert.pem', '--template', 'crl.tmpl', '--outfile', 'crl.pem')


def tls(more=''):
    port = free_port()
    return port, (f'[tls]\nlisten=localhost:{port}\nca={os.path.abspath("cacert.pem")}\ncert={os.path.abspath("localhostcert.pem")}\n'
                  f'key={os.path.abspath("localhostkey.pem")}\n{more}')


@behaviour('over TLS those come in whose certificate our CA has signed, and whose name is listed where names are')
def _():
    authorities()
    fred, mary, eve, none = wallet('w1', 'fred'), wallet('w2', 'mary'), wallet('w3', 'eve'), wallet('w4')
    fooled, late = wallet('w5', 'fred', 'stranger'), wallet('w6', 'late')

    def at(port, where):
        return f'storage+tls://localhost:{port}/system?no_sanity=1&pkipath={where}'

    port, config = tls()
    with service(config) as daemon:
        for known in (fred, mary):
            virsh(at(port, known), 'pool-list')
        daemon.refuses('issuer is unknown', virsh, at(port, eve), 'pool-list', rc=1)
        daemon.refuses('ertificate is required', virsh, at(port, none), 'pool-list', rc=1)
        daemon.refuses('expired', virsh, at(port, late), 'pool-list', rc=1)
        virsh(at(port, fooled), 'pool-list', rc=1)  # the client does not trust us
        check('127.0.0.1 port ' in daemon.said(), 'from where?')
        with socket.create_connection(('localhost', port)) as plain:  # who speaks no TLS gets no answer
            plain.sendall(frame(AUTH_LIST))
            plain.settimeout(10)
            check(REMOTE.to_bytes(4, 'big') not in plain.recv(100), 'answered without TLS')
    port, config = tls('names=*CN=fred*;CN=nobody\n')
    with service(config) as daemon:
        virsh(at(port, fred), 'pool-list')
        daemon.refuses('not on the list of names: ', virsh, at(port, mary), 'pool-list', rc=1)
    check('CN=mary' in daemon.said() and 'CN=fred' not in daemon.said(), daemon.said())
    port, config = tls(f'crl={os.path.abspath("crl.pem")}\n')
    with service(config) as daemon:
        virsh(at(port, mary), 'pool-list')
        daemon.refuses('revoked', virsh, at(port, fred), 'pool-list', rc=1)
    port, config = tls('trust_anybody=true\n')
    with service(config):
        virsh(at(port, none), 'pool-list')


# ---- SASL ----

def accounts(mechanism):
    """fred and mary, with passwords, in a database of our own."""
    os.mkdir('sasl')
    database = os.path.abspath('sasl/db')
    put('sasl/libvirt.conf', f'mech_list: {mechanism}\npwcheck_method: auxprop\nsasldb_path: {database}\n'.encode())
    for name in ('fred', 'mary'):
        subprocess.run(['saslpasswd2', '-p', '-c', '-f', database, '-a', 'libvirt', name], input=f'{name}-1234'.encode(), check=True)
    os.environ['SASL_CONF_PATH'] = os.path.abspath('sasl')


def log_in(where, name, password):

    def answer(questions, _):
        for question in questions:
            question[4] = name if question[0] in (libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_USERNAME) else password
        return 0

    kinds = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_USERNAME, libvirt.VIR_CRED_PASSPHRASE]
    return libvirt.openAuth(where, [kinds, answer, None], 0)


@behaviour('with SASL the password counts, and nothing is answered before it')
def _():
    for mechanism, tcp in (('digest-md5', True), ('scram-sha-256', False)):
        run('rm', '-rf', 'sasl', 'dstate')
        accounts(mechanism)
        port = free_port()
        config = (f'[tcp]\nlisten=localhost:{port}\n' if tcp else '[daemon]\nauth=sasl\n') + '[sasl]\nusers=fred@*;fred\n'
        with service(config) as daemon:
            where = f'storage+tcp://localhost:{port}/system' if tcp else uri(daemon)
            conn = log_in(where, 'fred', 'fred-1234')
            check(conn.listAllStoragePools() == [], 'it does not work')
            conn.close()
            for name, password in (('fred', 'mary-1234'), ('nobody', 'x'), ('mary', 'mary-1234')):
                words = "not on the list" if name == 'mary' else 'authentication failed'
                check(daemon.refuses(words, code_of, log_in, where, name, password) == 45, f'{name} {password}')
            if not tcp:
                with Peer(daemon.socket) as peer:
                    for procedure in (OPEN, FEATURE, CAPABILITIES, LIST_POOLS):
                        status, error = peer.call(procedure, word(0) * 4)
                        check(status == ERROR and error_code(error) in (39, 45), f'{procedure}: {error}')


def characters(data):
    return word(len(data)) + b''.join(word(byte) for byte in data)  # four bytes for each, such is libvirt's protocol


@behaviour('SASL on a unix socket works whatever the length of its path')
def _():
    accounts('scram-sha-256')
    with mounted('/mnt'):
        for path in ('/mnt/s', '/mnt/' + 'x' * 25, '/mnt/' + 'x' * 26, '/mnt/' + 'x' * 90):
            daemon = service('[daemon]\nauth=sasl\n')
            daemon.socket = path
            with daemon:
                log_in(uri(daemon), 'fred', 'fred-1234').close()


@behaviour('until a client has shown who it is nothing but that is answered, to root neither, and no frame above 64 KiB taken')
def _():
    accounts('digest-md5')
    port = free_port()

    def strangers(name, connect):
        with connect() as peer:
            for procedure in (OPEN, CLOSE, *PROCEDURES):
                got = peer.call(procedure)
                check(codes(got) == (39, 7), f'{name}: {procedure} is answered with {got}')
                check(b'authentication is required' in got[1] or b'unknown procedure' in got[1], f'{name}: {procedure}: {got}')
        for procedure in (CAPABILITIES, 68):
            with connect() as peer:
                check(codes(peer.call(procedure, bytes(65536 - 28)))[0] in (39, 45), f'{name}: 64 KiB are too much')
                peer.send(frame(procedure, length=65540))
                check(peer.closed(), f'{name}: more than 64 KiB are taken')

    with service(f'[daemon]\nauth=sasl\n[tcp]\nlisten=localhost:{port}\n') as daemon:
        strangers('SASL', lambda: Peer(daemon.socket))
        strangers('SASL, read-only', lambda: Peer(daemon.socket + '-ro'))
        strangers('TCP', lambda: TcpPeer(port))
    with service('[daemon]\nauth=polkit\n') as daemon:
        strangers('polkit', lambda: Peer(daemon.socket))


@behaviour('SASL out of order, in a mechanism that is not offered, or half done lets nobody in')
def _():
    INIT, START, STEP, POLKIT = 67, 68, 69, 70
    accounts('plain digest-md5')
    port = free_port()

    def start(mechanism, data=None):
        return START, text(mechanism) + word(data is None) + characters(data or b'')

    step = (STEP, word(0) + characters(b'x'))
    fred = start('PLAIN', b'\0fred\0fred-1234')
    mistakes = {
        'a step at once': [step], 'a start at once': [fred], 'begun twice': [(INIT, b''), (INIT, b'')],
        'an unknown mechanism': [(INIT, b''), start('NONSENSE', b'')], 'no name of one': [(INIT, b''), start('')],
        'a name of 60000 letters': [(INIT, b''), start('P' * 60000), step],
        'a wrong password': [(INIT, b''), start('PLAIN', b'\0fred\0mary-1234')],
        'a wrong one, then a step': [(INIT, b''), start('PLAIN', b'\0fred\0mary-1234'), step],
        'a wrong one, then the right one': [(INIT, b''), start('PLAIN', b'\0fred\0mary-1234'), fred],
        'one who is not listed': [(INIT, b''), start('PLAIN', b'\0mary\0mary-1234')],
        'one who is not listed, twice': [(INIT, b''), start('PLAIN', b'\0mary\0mary-1234'), step],
        'one as another': [(INIT, b''), start('PLAIN', b'fred\0mary\0mary-1234')],
        'an unknown mechanism, then a step': [(INIT, b''), start('NONSENSE', b''), step],
        'started twice': [(INIT, b''), start('DIGEST-MD5'), start('DIGEST-MD5')],
        'nonsense for an answer': [(INIT, b''), start('DIGEST-MD5'), step],
        'nonsense, again': [(INIT, b''), start('DIGEST-MD5'), step, step],
        'nothing for an answer': [(INIT, b''), start('DIGEST-MD5'), (STEP, word(1) + characters(b''))],
        'polkit': [(POLKIT, b'')],
    }
    with service(f'[daemon]\nauth=sasl\n[tcp]\nlisten=localhost:{port}\n[sasl]\nusers=fred@*;fred\n') as daemon:
        for connect in (lambda: Peer(daemon.socket), lambda: TcpPeer(port)):
            for what, calls in mistakes.items():
                with connect() as peer:
                    answers = [codes(peer.call(*call)) for call in calls]
                    check(answers[-1] == (45, 46), f'{what}: {answers}')
                    check(codes(peer.call(LIST_POOLS, word(1) + word(0))) == (39, 7), f'{what}: let in')
        with Peer(daemon.socket) as peer:
            check(b'PLAIN' in peer.call(INIT)[1], 'PLAIN is not offered')
            check(codes(peer.call(*fred)) == (0, 0), 'the right password does not let him in')
            check(codes(peer.call(OPEN, word(1) + text('storage:///system') + word(0))) == (0, 0), 'it cannot open')
            check(codes(peer.call(*fred))[0] == 45, 'once more')
            check(codes(peer.call(LIST_POOLS, word(1) + word(0))) == (0, 0), 'and is a stranger again')
        with TcpPeer(port) as peer:  # what anybody can read
            offered = peer.call(INIT)[1]
            check(b'DIGEST-MD5' in offered and b'PLAIN' not in offered, offered)
            check(codes(peer.call(*fred))[0] == 45, 'a password in the clear')
    put('sasl/libvirt.conf', b'mech_list: nonsense\n')
    with service('[daemon]\nauth=sasl\n') as daemon, Peer(daemon.socket) as peer:
        for call in ((INIT, b''), (INIT, b''), fred, step):
            check(codes(peer.call(*call)) == (45, 46), 'there is no mechanism at all')


def there_and_back(conn):
    """Bytes are uploaded and come back as they were."""
    sent = os.urandom(5 << 20) + bytes(1 << 20) + b'end'
    os.makedirs('p', exist_ok=True)
    pool = conn.storagePoolDefineXML(POOL % os.path.abspath('p'))
    pool.create()
    volume = pool.createXML(f'<volume><name>v</name><capacity unit="bytes">{len(sent)}</capacity></volume>')
    stream, at = conn.newStream(), 0
    volume.upload(stream, 0, len(sent))
    while at < len(sent):
        at += stream.send(sent[at:at + 200000])
    stream.finish()
    check(get('p/v')[:len(sent)] == sent, 'other bytes arrived')
    stream, received = conn.newStream(), []
    volume.download(stream, 0, len(sent))
    while received[-1:] != [b'']:
        received.append(stream.recv(77777))
    stream.finish()
    check(b''.join(received) == sent, 'other bytes came back')
    pool.destroy()
    pool.undefine()
    run('rm', '-r', 'p')


@behaviour('who is silent in the middle of a TLS handshake delays nobody, and is gone after the deadline')
def _():
    authorities()
    fred = wallet('w1', 'fred')
    port, config = tls()
    with service(config) as daemon:
        silent = [socket.create_connection(('localhost', port)) for _ in range(100)]
        for client in silent[50:]:
            client.sendall(b'\x16\x03\x01\x01\x00\x01')  # the head of a hello
        began = time.monotonic()
        virsh(f'storage+tls://localhost:{port}/system?pkipath={fred}', 'pool-list')
        check(time.monotonic() - began < 5, 'it took long')
        for client in silent:
            client.settimeout(14)
            check(client.recv(1) == b'', 'it is answered')
            client.close()
        check(daemon.said().count('it did not show who it is in time') == 100, daemon.said())


@behaviour('what is uploaded and downloaded through TLS and through the layer of SASL stays what it is')
def _():
    authorities()
    accounts('digest-md5')
    where = wallet('w1', 'fred')
    plain = free_port()
    port, config = tls('auth=sasl\n')
    with service(f'[tcp]\nlisten=localhost:{plain}\n' + config):
        for transport, at in (('tcp', plain), ('tls', port)):
            conn = log_in(f'storage+{transport}://localhost:{at}/system?pkipath={where}', 'fred', 'fred-1234')
            there_and_back(conn)
            check(conn.isSecure() == 1, 'it is not secure?')
            conn.close()
        # a certificate alone is not enough here
        check(code_of(log_in, f'storage+tls://localhost:{port}/system?pkipath={where}', 'fred', 'mary-1234') == 45, 'let in')
    port, config = tls()
    with service(config):
        conn = libvirt.open(f'storage+tls://localhost:{port}/system?pkipath={where}')
        there_and_back(conn)
        conn.close()


@behaviour('plain TCP needs SASL, unless it is told otherwise; polkit there is a mistake')
def _():
    port = free_port()
    accounts('digest-md5')
    with service(f'[tcp]\nlisten=localhost:{port}\n'):
        check(code_of(log_in, f'storage+tcp://localhost:{port}/system', '', '') == 45, 'let in')
    with service(f'[tcp]\nlisten=localhost:{port}\nauth=none\n'):
        virsh(f'storage+tcp://localhost:{port}/system', 'pool-list')
    put('ploopd.conf', f'[tcp]\nlisten=localhost:{port}\nauth=polkit\n'.encode())
    check('polkit knows only local processes' in run(os.environ['PLOOPD'], '--config', 'ploopd.conf', '--state-dir', 'dstate', rc=1),
          'it starts')


@behaviour('a list of those who may come in at which nobody would look is a mistake')
def _():
    port = free_port()
    for config, words in (
            (f'[daemon]\nauth=polkit\nusers={NOBODY}\n', 'users is not looked at where auth is polkit or sasl'),
            (f'[daemon]\nauth=sasl\nusers={NOBODY}\n', 'users is not looked at where auth is polkit or sasl'),
            (f'[sasl]\nusers=fred\n[tcp]\nlisten=localhost:{port}\nauth=none\n', 'no socket has auth=sasl'),
            (f'[tls]\nlisten=localhost:{port}\nnames=CN=fred\ntrust_anybody=true\n', 'anybody can choose a name')):
        put('ploopd.conf', config.encode())
        said = run(PLOOPD, '--config', 'ploopd.conf', '--socket', 'sock', '--state-dir', 'dstate', rc=1)
        check(words in said and not os.path.exists('sock'), said)


# ---- polkit ----

BUS = '''<busconfig>
  <type>system</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
'''


class Polkit:
    """A bus and a polkitd of our own, with these rules; everybody who is started afterwards asks there."""

    def __init__(self, rules):
        os.chmod('.', 0o755)
        os.makedirs('actions')
        os.makedirs('rules')
        put('actions/ploopd.policy', get(POLICY))
        put('rules/10-test.rules', rules.encode())
        put('bus.conf', (BUS % os.path.abspath('bus')).encode())
        for what, where in (('actions', '/usr/share/polkit-1/actions'), ('rules', '/usr/share/polkit-1/rules.d'),
                            ('rules', '/etc/polkit-1/rules.d')):
            run('mount', '--bind', what, where)
        os.chmod('/etc/polkit-1/rules.d', 0o755)

    def __enter__(self):
        os.environ['DBUS_SYSTEM_BUS_ADDRESS'] = 'unix:path=' + os.path.abspath('bus')
        self.start()
        return self

    def start(self):
        with open('polkit.log', 'ab') as out:
            self.running = [subprocess.Popen(['dbus-daemon', '--config-file=bus.conf', '--nofork'], stdout=out, stderr=out)]
            wait_until('there is a bus', lambda: os.path.exists('bus'))
            self.running.append(subprocess.Popen([POLKITD], stdout=out, stderr=out))
        wait_until('polkit answers', lambda: subprocess.run(
            ['dbus-send', '--system', '--print-reply', '--dest=org.freedesktop.PolicyKit1', '/org/freedesktop/PolicyKit1/Authority',
             'org.freedesktop.DBus.Peer.Ping'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0)

    def stop(self):
        for process in reversed(self.running):
            process.terminate()
            process.wait()
        if os.path.exists('bus'):
            os.unlink('bus')

    def __exit__(self, *_):
        self.stop()
        for where in ('/etc/polkit-1/rules.d', '/usr/share/polkit-1/rules.d', '/usr/share/polkit-1/actions'):
            run('umount', where)
        del os.environ['DBUS_SYSTEM_BUS_ADDRESS']


@behaviour('polkit says who may manage and who may look')
def _():
    rules = f'''polkit.addRule(function(action, subject) {{
        if (action.id == "org.libvirt.unix.manage")
            return subject.user == "nobody" ? polkit.Result.YES : polkit.Result.NO;
        if (action.id == "org.libvirt.unix.monitor")
            return polkit.Result.YES;
    }});'''
    with Polkit(rules), service('[daemon]\nauth=polkit\n') as daemon:
        check(stat.S_IMODE(os.stat(daemon.socket).st_mode) == 0o777, 'the socket is closed')
        for uid in (0, NOBODY):
            virsh(uri(daemon), 'pool-list', uid=uid)
        said = daemon.refuses(f'refused user {OTHER}, ', virsh, uri(daemon), 'pool-list', uid=OTHER, rc=1)
        check('denies org.libvirt.unix.manage' in said, said)
        check(connect_as(OTHER, uri(daemon))[0] == 45, 'not 45')
        virsh(uri(daemon, True), 'pool-list', uid=OTHER)
        with Peer(daemon.socket) as peer:
            status, error = peer.call(OPEN, word(1) + text('storage:///system') + word(0))
            check(status == ERROR, 'opened without asking who it is')


AGENT = '''<node><interface name="org.freedesktop.PolicyKit1.AuthenticationAgent">
  <method name="BeginAuthentication">
    <arg type="s" direction="in"/> <arg type="s" direction="in"/> <arg type="s" direction="in"/> <arg type="a{ss}" direction="in"/>
    <arg type="s" direction="in"/> <arg type="a(sa{sv})" direction="in"/>
  </method>
  <method name="CancelAuthentication"> <arg type="s" direction="in"/> </method>
</interface></node>'''


def be_agent(pid, right, seconds, ready):
    """Asked on behalf of that process, it takes so long, and has heard the right password or not."""
    from gi.repository import Gio, GLib
    bus = Gio.bus_get_sync(Gio.BusType.SYSTEM)

    def polkit(method, signature, *arguments):
        bus.call_sync('org.freedesktop.PolicyKit1', '/org/freedesktop/PolicyKit1/Authority',
                      'org.freedesktop.PolicyKit1.Authority', method, GLib.Variant(signature, arguments), None, 0, -1, None)

    def answer(cookie, identity, call):
        if right:
            polkit('AuthenticationAgentResponse2', '(us(sa{sv}))', 0, cookie, identity)
        call.return_value(None)

    def asked(connection, sender, path, interface, method, arguments, call):
        put('asked')
        cookie, (kind, details) = arguments.unpack()[4], arguments.unpack()[5][0]
        identity = (kind, {'uid': GLib.Variant('u', details['uid'])})
        GLib.timeout_add(int(seconds * 1000), answer, cookie, identity, call)

    bus.register_object('/agent', Gio.DBusNodeInfo.new_for_xml(AGENT).interfaces[0], asked, None, None)
    began = int(get(f'/proc/{pid}/stat').rsplit(b')', 1)[1].split()[19])
    polkit('RegisterAuthenticationAgent', '((sa{sv})ss)', ('unix-process', {
        'pid': GLib.Variant('u', pid), 'start-time': GLib.Variant('t', began)}), 'C', '/agent')
    os.write(ready, b'.')
    GLib.MainLoop().run()


def virsh_with_agent(where, right, seconds=0.1, uid=OTHER):
    """What virsh says, and its exit code, while an agent of its user is there."""
    virsh = subprocess.Popen(['setpriv', f'--reuid={uid}', f'--regid={uid}', '--clear-groups', 'sh', '-c',
                              'read go; exec virsh -c "$0" pool-list --all', where], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, 'HOME': '/nonexistent'})
    there, ready = os.pipe()
    agent = os.fork()
    if agent == 0:
        try:
            be_agent(virsh.pid, right, seconds, ready)
        finally:
            os._exit(1)
    os.close(ready)
    check(os.read(there, 1) == b'.', 'the agent cannot begin')
    os.close(there)
    said = virsh.communicate(b'go\n', timeout=40)[0].decode()
    os.kill(agent, signal.SIGKILL)
    os.waitpid(agent, 0)
    return said, virsh.returncode


def connect_as(uid, where):
    """(libvirt's number of the error, its domain) of a process of that user that connects; zeros: it may."""
    there, end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
            libvirt.registerErrorHandler(lambda ctx, err: None, None)
            try:
                libvirt.open(where).close()
                os.write(end, struct.pack('ii', 0, 0))
            except libvirt.libvirtError as error:
                os.write(end, struct.pack('ii', error.get_error_code(), error.get_error_domain()))
        finally:
            os._exit(0)
    os.close(end)
    try:
        return struct.unpack('ii', os.read(there, 8))
    finally:
        os.close(there)
        os.waitpid(child, 0)


@behaviour('who is to give a password to polkit is asked by an agent, and has the time to type it')
def _():
    rules = '''polkit.addRule(function(action, subject) {
        if (action.id == "org.libvirt.unix.manage")
            return polkit.Result.AUTH_ADMIN;
    });'''
    with Polkit(rules), service('[daemon]\nauth=polkit\n') as daemon:
        check(connect_as(OTHER, uri(daemon)) == (94, 60), 'no agent: virsh would not start one')
        check('no polkit agent available' in virsh(uri(daemon), 'pool-list', uid=OTHER, rc=1), 'let in')
        said, code = virsh_with_agent(uri(daemon), True)
        check(code == 0 and 'Autostart' in said, said)
        said, code = virsh_with_agent(uri(daemon), False)
        check(code == 1 and 'error' in said, said)
        said, code = virsh_with_agent(uri(daemon), True, seconds=13)
        check(code == 0 and 'Autostart' in said, said)


@behaviour('when the bus goes the daemon stays, and asks again when there is another')
def _():
    rules = '''polkit.addRule(function(action, subject) {
        if (action.id == "org.libvirt.unix.manage")
            return subject.user == "nobody" ? polkit.Result.YES : polkit.Result.AUTH_ADMIN;
    });'''
    with Polkit(rules) as polkit, service('[daemon]\nauth=polkit\n') as daemon:
        virsh(uri(daemon), 'pool-list', uid=NOBODY)
        said = []
        waits = threading.Thread(target=lambda: said.extend(virsh_with_agent(uri(daemon), True, seconds=60)))
        waits.start()
        wait_until('the agent is asked', lambda: os.path.exists('asked'))
        polkit.stop()
        waits.join()
        check(said[1] == 1, said)
        check(connect_as(NOBODY, uri(daemon))[0] == 45, 'let in without polkit')
        check(daemon.process.poll() is None, 'the daemon went, too')
        polkit.start()
        # The closed connection may be in somebody's hands for a moment yet.
        wait_until('polkit is asked again', lambda: connect_as(NOBODY, uri(daemon))[0] == 0)


@behaviour('where polkit cannot be asked, nobody but root comes in')
def _():
    os.environ['DBUS_SYSTEM_BUS_ADDRESS'] = 'unix:path=' + os.path.abspath('nothing')
    with service('[daemon]\nauth=polkit\n') as daemon:
        del os.environ['DBUS_SYSTEM_BUS_ADDRESS']
        virsh(uri(daemon), 'pool-list')
        for read_only in (False, True):
            check('polkit cannot be asked' in virsh(uri(daemon, read_only), 'pool-list', uid=NOBODY, rc=1), 'let in')


@behaviour('with access_polkit each right is asked for, with names of pool and volume')
def _():
    rules = '''polkit.addRule(function(action, subject) {
        if (action.id == "org.libvirt.api.storage-vol.delete")
            return action.lookup("pool_name") == "p" && action.lookup("vol_name") == "mine" ? polkit.Result.YES : polkit.Result.NO;
        if (action.id == "org.libvirt.api.storage-pool.getattr" || action.id == "org.libvirt.api.storage-pool.read")
            return action.lookup("pool_name") == "hidden" ? polkit.Result.NO : polkit.Result.YES;
        if (action.id == "org.libvirt.api.storage-vol.getattr" && action.lookup("vol_name") == "secret")
            return polkit.Result.NO;
        if (action.id.indexOf("org.libvirt.api.") == 0)
            return polkit.Result.YES;
    });'''
    with Polkit(rules), service(f'[daemon]\nsocket_mode=0777\nusers={NOBODY}\naccess_polkit=true\n') as daemon:
        for name in ('p', 'hidden'):
            os.mkdir(name)
            virsh(uri(daemon), 'pool-create-as', name, 'dir', '--target', os.path.abspath(name))
        for name in ('mine', 'yours'):
            virsh(uri(daemon), 'vol-create-as', 'p', name, '1M', uid=NOBODY)
        said = daemon.refuses('STORAGE_VOL_DELETE: polkit denies org.libvirt.api.storage-vol.delete',
                              virsh, uri(daemon), 'vol-delete', 'yours', 'p', uid=NOBODY, rc=1)
        check('access denied' in said, said)
        check(os.path.exists('p/yours') and 'Capacity' in virsh(uri(daemon), 'vol-info', 'yours', 'p', uid=NOBODY), 'it is gone')
        virsh(uri(daemon), 'vol-delete', 'mine', 'p', uid=NOBODY)
        check(not os.path.exists('p/mine'), 'it is still there')
        listed = virsh(uri(daemon), 'pool-list', '--all', uid=NOBODY)
        check(' p ' in listed and 'hidden' not in listed, listed)
        os.seteuid(NOBODY)
        try:
            conn = daemon.connect()
        finally:
            os.seteuid(0)
        pool = conn.storagePoolLookupByName('p')
        check(code_of(pool.storageVolLookupByName('yours').delete) == 88, 'not 88')
        virsh(uri(daemon), 'vol-create-as', 'p', 'secret', '1M')
        check(code_of(pool.storageVolLookupByName, 'secret') == 88, 'it can be found')
        listed = [volume.name() for volume in pool.listAllVolumes()]
        check(listed == pool.listVolumes() == ['yours'] and pool.numOfVolumes() == 1, f'{listed}, {pool.numOfVolumes()}')
        with Peer(daemon.socket) as root:
            root.open()
            all_of = root.call(LOOKUP_POOL, text('p'))[1] + word(0) + word(0)  # no list, only how many
            check(root.call(282, all_of) == (OK, word(0) + word(2)), 'root sees them all')
        conn.close()


@behaviour("each procedure asks for libvirt's rights and no other, of the pool and the volume it is about")
def _():
    put('note', b'#!/bin/sh\necho "$@" >> "${0%note}asked"\n')
    os.chmod('note', 0o755)
    put('asked')
    os.chmod('asked', 0o666)
    rules = '''polkit.addRule(function(action, subject) {
        if (action.id.indexOf("org.libvirt.api.") != 0)
            return;
        polkit.spawn(["%s", action.id.substr(16), action.lookup("pool_name") || "", action.lookup("vol_name") || ""]);
        return polkit.Result.YES;
    });''' % os.path.abspath('note')
    volume_xml = '<volume><name>%s</name><capacity>1048576</capacity></volume>'
    with Polkit(rules), service(f'[daemon]\nsocket_mode=0777\nusers={NOBODY}\naccess_polkit=true\n') as daemon:
        os.mkdir('p')
        xml = POOL % os.path.abspath('p')
        root = daemon.connect()
        root.storagePoolDefineXML(xml).create()
        root.storagePoolLookupByName('p').createXML(volume_xml % 'v')
        os.seteuid(NOBODY)
        try:
            conn = daemon.connect()
        finally:
            os.seteuid(0)
        pool = conn.storagePoolLookupByName('p')
        volume = pool.storageVolLookupByName('v')
        search, get_pool, get_volume = 'connect.search-storage-pools', 'storage-pool.getattr p', 'storage-vol.getattr p v'

        def upload():
            it = conn.newStream()
            volume.upload(it, 0, 4096)
            it.send(bytes(4096))
            it.finish()

        def download():
            it = conn.newStream()
            volume.download(it, 0, 4096)
            it.abort()

        steps = [
            (conn.getType, 'connect.getattr'), (conn.getVersion, 'connect.getattr'), (conn.getLibVersion, 'connect.getattr'),
            (conn.getHostname, 'connect.getattr'), (conn.getCapabilities, 'connect.read'),
            (conn.getStoragePoolCapabilities, 'connect.read'), (conn.numOfStoragePools, search, get_pool),
            (conn.listStoragePools, search, get_pool), (conn.listAllStoragePools, search, get_pool),
            (conn.numOfDefinedStoragePools, search), (conn.listDefinedStoragePools, search),
            (lambda: code_of(conn.findStoragePoolSources, 'netfs', '<source><host name="localhost"/></source>'),
             'connect.detect-storage-pools'),  # there are none
            (lambda: conn.storagePoolLookupByName('p'), get_pool), (lambda: conn.storagePoolLookupByUUID(pool.UUID()), get_pool),
            (lambda: conn.storagePoolLookupByTargetPath(os.path.abspath('p')), get_pool), (volume.storagePoolLookupByVolume, get_pool),
            (pool.info, 'storage-pool.read p'), (pool.XMLDesc, 'storage-pool.read p'), (pool.autostart, 'storage-pool.read p'),
            (pool.isActive, 'storage-pool.read p'), (pool.isPersistent, 'storage-pool.read p'),
            (lambda: pool.setAutostart(1), 'storage-pool.write p'), (pool.refresh, 'storage-pool.refresh p'),
            (pool.numOfVolumes, 'storage-pool.search-storage-vols p', get_volume),
            (pool.listVolumes, 'storage-pool.search-storage-vols p', get_volume),
            (pool.listAllVolumes, 'storage-pool.search-storage-vols p', get_volume),
            (lambda: pool.storageVolLookupByName('v'), get_pool, get_volume),
            (lambda: conn.storageVolLookupByPath(os.path.abspath('p/v')), get_volume),
            (lambda: conn.storageVolLookupByKey(os.path.abspath('p/v')), get_volume),
            (volume.info, 'storage-vol.read p v'), (lambda: volume.infoFlags(1), 'storage-vol.read p v'),
            (volume.XMLDesc, 'storage-vol.read p v'), (volume.path, 'storage-vol.read p v'),
            (lambda: volume.resize(2 << 20), 'storage-vol.resize p v'), (volume.wipe, 'storage-vol.format p v'),
            (lambda: volume.wipePattern(0), 'storage-vol.format p v'),
            (upload, 'storage-vol.data-write p v'), (download, 'storage-vol.data-read p v'),
            (lambda: pool.createXML(volume_xml % 'w'), get_pool, 'storage-vol.create p w'),
            (lambda: pool.createXMLFrom(volume_xml % 'c', volume), get_pool, 'storage-vol.create p c'),
            (volume.delete, 'storage-vol.delete p v'),
            (pool.destroy, 'storage-pool.stop p'), (pool.create, 'storage-pool.start p'), (pool.destroy, 'storage-pool.stop p'),
            (pool.build, 'storage-pool.format p'), (lambda: run('sh', '-c', 'rm p/*'),), (pool.delete, 'storage-pool.format p'),
            (pool.undefine, 'storage-pool.delete p'),
            (lambda: conn.storagePoolDefineXML(xml), 'storage-pool.write p', 'storage-pool.save p'),
            (lambda: conn.storagePoolLookupByName('p').undefine(), get_pool, 'storage-pool.delete p'), (lambda: os.mkdir('p'),),
            (lambda: conn.storagePoolCreateXML(xml), 'storage-pool.start p', 'storage-pool.write p'),
        ]
        for i, (step, *wanted) in enumerate(steps):
            os.truncate('asked', 0)
            try:
                step()
            except Exception as error:
                raise AssertionError(f'step {i}, which wants {wanted}: {error}') from error
            asked = {line.strip() for line in get('asked').decode().splitlines()}
            check(asked == set(wanted), f'step {i}: {asked}, not {wanted}')
        conn.close()
        root.close()


main()
