#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every storage and stream method of Sys::Virt, as a text: see both.sh.
#
#     sys-virt.pl URI DIR
#
# does the same things in the empty directory DIR, whoever serves URI. It dies where a storage method of the binding was
# never called.
use strict;
use warnings;
use Fcntl qw(SEEK_SET SEEK_CUR);
use Sys::Virt;
use Sys::Virt::Event;

my ($uri, $base) = @ARGV;
my $UUID = '11111111-2222-3333-4444-0000000000%02d';
use constant { SEEK_DATA => 3, SEEK_HOLE => 4, MIB => 1 << 20, NONBLOCK => Sys::Virt::Stream::NONBLOCK };
$| = 1;
Sys::Virt::Event::register_default();

# ---- saying ----

sub mask {
    my $text = join(' ', map { defined $_ ? $_ : 'undef' } @_);
    $text =~ s/<(atime|mtime|ctime|btime)>[^<]*</<$1>TIME</g;
    $text =~ s/<(capacity|available|allocation|physical) unit='bytes'>\d+</<$1>N</g if $text =~ /<pool/;
    $text =~ s/<(allocation|physical) unit='bytes'>\d+</<$1>N</g;
    $text =~ s/\Q$base\E/BASE/g;
    return $text;
}

sub say_it { print shift, ' -> ', mask(@_), "\n" }

my %called;

sub outcome {
    my ($object, $method, @arguments) = @_;
    $called{(ref $object) . "::$method"} = 1;
    my @got = eval { $object->$method(@arguments) };
    my $error = $@ or return @got;
    die $error unless ref $error eq 'Sys::Virt::Error';
    die 'an error without words' if $error->message eq '';
    return (undef, sprintf('ERROR code %d domain %d', $error->code, $error->domain));
}

# ask WHAT, SHOW, OBJECT, METHOD, ARGUMENTS...: what it gives is printed as SHOW (a function) says, and returned; or the error.
sub ask {
    my ($what, $show, @call) = @_;
    my @got = outcome(@call);
    my $refused = @got == 2 && !defined $got[0] && $got[1] =~ /^ERROR /;
    say_it($what, $refused ? $got[1] : $show ? $show->(@got) : map { ref $_ ? ref $_ : $_ } @got);
    return $refused ? undef : wantarray ? @got : $got[0];
}

sub names { join ',', sort map { $_->get_name } @_ }
sub sorted { join ',', sort @_ }
sub hash { my $h = shift; join ' ', map { "$_=$h->{$_}" } sort keys %$h }

sub volume {
    my $info = shift->get_info;
    return "type=$info->{type} capacity=$info->{capacity}";
}

# What a server does after it has answered (libvirtd refreshes behind uploads).
sub settle {
    my $pool = shift;
    for (1 .. 100) {
        return if eval { $pool->refresh; 1 };
        select undef, undef, undef, 0.05;
    }
    say_it('refresh', 'never');
}

sub pool_xml {
    my ($name, $number, $path, $kind) = @_;
    return sprintf "<pool type='%s'><name>%s</name><uuid>$UUID</uuid><target><path>%s</path></target></pool>",
        $kind || 'dir', $name, $number, $path || "$base/$name";
}

sub vol_xml {
    my ($name, $capacity, $format) = @_;
    return sprintf "<volume><name>%s</name><capacity>%s</capacity><allocation>0</allocation><target><format type='%s'/></target>"
        . '</volume>', $name, $capacity, $format || 'raw';
}

sub content {
    open my $file, '<', shift or die $!;
    local $/;
    return scalar <$file>;
}

# ---- what is asked ----

sub connection {
    my $conn = shift;
    ask('type', undef, $conn, 'get_type');
    ask('uri', sub { $_[0] =~ s/\?.*//r }, $conn, 'get_uri');
    ask('pool capabilities', sub { sorted($_[0] =~ /<pool type='(\w+)' supported='yes'/g) }, $conn,
        'get_storage_pool_capabilities');
    ask('pool capabilities, flags', undef, $conn, 'get_storage_pool_capabilities', 1);
    ask("sources of $_", undef, $conn, 'find_storage_pool_sources', $_, '<source/>') for qw(dir fs nonsense);
    ask('sources, flags', undef, $conn, 'find_storage_pool_sources', 'netfs', '<source/>', 1);
}

sub lists {
    my ($conn, $when) = @_;
    ask("$when: number", undef, $conn, 'num_of_storage_pools');
    ask("$when: names", \&sorted, $conn, 'list_storage_pool_names', 100);
    ask("$when: active", \&names, $conn, 'list_storage_pools');
    ask("$when: defined number", undef, $conn, 'num_of_defined_storage_pools');
    ask("$when: defined names", \&sorted, $conn, 'list_defined_storage_pool_names', 100);
    ask("$when: defined", \&names, $conn, 'list_defined_storage_pools');
    for my $flag (qw(INACTIVE ACTIVE PERSISTENT TRANSIENT AUTOSTART NO_AUTOSTART DIR FS NETFS LOGICAL DISK ISCSI SCSI MPATH RBD
                     SHEEPDOG GLUSTER ZFS VSTORAGE ISCSI_DIRECT)) {
        my $bit = Sys::Virt::StoragePool->can("LIST_$flag") || Sys::Virt->can("LIST_STORAGE_POOLS_$flag") or next;
        ask("$when: all $flag", \&names, $conn, 'list_all_storage_pools', $bit->());
    }
    ask("$when: all", \&names, $conn, 'list_all_storage_pools', 0);
    ask("$when: all, wrong flag", \&names, $conn, 'list_all_storage_pools', 1 << 25);
}

sub pools {
    my $conn = shift;
    my $path = "$base/main";
    ask('define nonsense', undef, $conn, 'define_storage_pool', '<nonsense');
    ask('define a volume', undef, $conn, 'define_storage_pool', vol_xml('x', 1));
    ask('define without path', undef, $conn, 'define_storage_pool', "<pool type='dir'><name>x</name></pool>");
    ask('define, flags', undef, $conn, 'define_storage_pool', pool_xml('main', 1), 2);
    my $pool = ask('define', undef, $conn, 'define_storage_pool', pool_xml('main', 1));
    ask('define its twin', undef, $conn, 'define_storage_pool', pool_xml('main', 2));
    ask('define on its path', undef, $conn, 'define_storage_pool', pool_xml('twin', 2, $path));
    ask('name', undef, $pool, 'get_name');
    ask('uuid', undef, $pool, 'get_uuid_string');
    ask('uuid in bytes', sub { unpack 'H*', $_[0] }, $pool, 'get_uuid');
    ask('xml', undef, $pool, 'get_xml_description');
    ask('xml, inactive', undef, $pool, 'get_xml_description', Sys::Virt::StoragePool::XML_INACTIVE);
    ask('xml, flags', undef, $pool, 'get_xml_description', 2);
    ask('info', \&hash, $pool, 'get_info');
    ask('active', undef, $pool, 'is_active');
    ask('persistent', undef, $pool, 'is_persistent');
    ask('autostart', undef, $pool, 'get_autostart');
    ask('autostart on', undef, $pool, 'set_autostart', 1);
    ask('autostart', undef, $pool, 'get_autostart');
    ask('start without directory', undef, $pool, 'create');
    ask("not running: $_->[0]", undef, $pool, @$_) for ['destroy'], ['refresh'], ['num_of_storage_volumes'],
        ['list_all_volumes'], ['list_storage_vol_names', 10], ['get_volume_by_name', 'x'], ['create_volume', vol_xml('x', 1)];
    ask('build, flags', undef, $pool, 'build', Sys::Virt::StoragePool::BUILD_OVERWRITE);
    ask('build', undef, $pool, 'build');
    ask('build again', undef, $pool, 'build', Sys::Virt::StoragePool::BUILD_NEW);
    ask('start', undef, $pool, 'create');
    ask('start again', undef, $pool, 'create');
    ask("running: $_", undef, $pool, $_) for qw(build delete undefine);
    ask('refresh', undef, $pool, 'refresh');
    ask('refresh, flags', undef, $pool, 'refresh', 4);
    ask('info', sub { my $i = shift; "state=$i->{state} " . ($i->{capacity} > 0 && $i->{available} > 0) }, $pool, 'get_info');
    ask('xml', undef, $pool, 'get_xml_description');
    ask('transient without directory', undef, $conn, 'create_storage_pool', pool_xml('passing', 3));
    mkdir "$base/passing" or die $!;
    ask('transient', undef, $conn, 'create_storage_pool', pool_xml('passing', 3));
    ask('transient again', undef, $conn, 'create_storage_pool', pool_xml('passing', 3));
    ask('defined', undef, $conn, 'define_storage_pool', pool_xml('idle', 4));
    lists($conn, 'three pools');
    ask('by name', \&names, $conn, 'get_storage_pool_by_name', 'main');
    ask('by uuid', \&names, $conn, 'get_storage_pool_by_uuid', $pool->get_uuid);
    ask('by uuid string', \&names, $conn, 'get_storage_pool_by_uuid', $pool->get_uuid_string);
    ask('by path', \&names, $conn, 'get_storage_pool_by_target_path', $path);
    ask('by no name', undef, $conn, 'get_storage_pool_by_name', 'nobody');
    ask('by no uuid', undef, $conn, 'get_storage_pool_by_uuid', sprintf $UUID, 99);
    ask('by no path', undef, $conn, 'get_storage_pool_by_target_path', '/nowhere');
    my $passing = $conn->get_storage_pool_by_name('passing');
    ask('transient: persistent', undef, $passing, 'is_persistent');
    ask('transient: autostart', undef, $passing, 'set_autostart', 1);
    ask('transient: undefine', undef, $passing, 'undefine');
    ask('transient: destroy', undef, $passing, 'destroy');
    ask('transient: gone', undef, $passing, 'get_info');
    my $idle = $conn->get_storage_pool_by_name('idle');
    ask('idle: build', undef, $idle, 'build');
    ask('idle: delete, flags', undef, $idle, 'delete', Sys::Virt::StoragePool::DELETE_ZEROED);
    ask('idle: delete', undef, $idle, 'delete');
    ask('idle: undefine', undef, $idle, 'undefine');
    ask('idle: undefine again', undef, $idle, 'undefine');
    return $pool;
}

sub volumes {
    my ($conn, $pool) = @_;
    ask('volume of nonsense', undef, $pool, 'create_volume', 'nonsense');
    ask('volume with a slash', undef, $pool, 'create_volume', vol_xml('a/b', 1));
    ask('volume without capacity', undef, $pool, 'create_volume', '<volume><name>x</name></volume>');
    ask('volume of a format', undef, $pool, 'create_volume', vol_xml('x', 1, 'zzz'));
    my $raw = ask('raw', \&volume, $pool, 'create_volume', vol_xml('raw', 4 * MIB));
    my $qcow2 = ask('qcow2', \&volume, $pool, 'create_volume', vol_xml('qcow2', 4 * MIB, 'qcow2'),
        Sys::Virt::StorageVol::CREATE_PREALLOC_METADATA);
    ask('directory', \&volume, $pool, 'create_volume', vol_xml('dir', 0, 'dir'));
    ask('raw again', undef, $pool, 'create_volume', vol_xml('raw', MIB));
    ask('clone', \&volume, $pool, 'clone_volume', vol_xml('clone', 0), $raw);
    ask('clone to another format', \&volume, $pool, 'clone_volume', vol_xml('clone.qcow2', 0, 'qcow2'), $raw);
    ask('clone again', undef, $pool, 'clone_volume', vol_xml('clone', 0), $raw);
    ask('clone, flags', undef, $pool, 'clone_volume', vol_xml('y', 0), $raw, 64);
    ask('number', undef, $pool, 'num_of_storage_volumes');
    ask('names', \&sorted, $pool, 'list_storage_vol_names', 100);
    ask('two names', sub { scalar @_ }, $pool, 'list_storage_vol_names', 2);
    ask('list', \&names, $pool, 'list_volumes');
    ask('list all', \&names, $pool, 'list_all_volumes', 0);
    ask('list all, flags', undef, $pool, 'list_all_volumes', 1);
    ask('by name', \&names, $pool, 'get_volume_by_name', 'raw');
    ask('by no name', undef, $pool, 'get_volume_by_name', 'nobody');
    ask('by path', \&names, $conn, 'get_storage_volume_by_path', "$base/main/raw");
    ask('by key', \&names, $conn, 'get_storage_volume_by_key', $raw->get_key);
    ask('by no path', undef, $conn, 'get_storage_volume_by_path', '/nowhere');
    ask('by no key', undef, $conn, 'get_storage_volume_by_key', '/nowhere');
    ask('pool of it', \&names, $conn, 'get_storage_pool_by_volume', $raw);
    settle($pool);
    for my $vol ($raw, $qcow2) {
        ask('name', undef, $vol, 'get_name');
        ask('key', undef, $vol, 'get_key');
        ask('path', undef, $vol, 'get_path');
        ask('xml', undef, $vol, 'get_xml_description');
        ask('xml, flags', undef, $vol, 'get_xml_description', 1);
        ask('info', sub { volume($vol) }, $vol, 'get_info');
        ask('info, physical', sub { "capacity=$_[0]{capacity}" }, $vol, 'get_info', Sys::Virt::StorageVol::GET_PHYSICAL);
        ask('info, flags', undef, $vol, 'get_info', 4);
        ask('larger', undef, $vol, 'resize', 6 * MIB);
        ask('by so much', undef, $vol, 'resize', 2 * MIB, Sys::Virt::StorageVol::RESIZE_DELTA);
        ask('now', sub { volume($vol) }, $vol, 'get_info');
        ask('smaller', undef, $vol, 'resize', MIB);
        ask('resize, flags', undef, $vol, 'resize', MIB, 64);
    }
    ask('shrink', undef, $raw, 'resize', 5 * MIB, Sys::Virt::StorageVol::RESIZE_SHRINK);
    ask('allocate', undef, $raw, 'resize', 6 * MIB, Sys::Virt::StorageVol::RESIZE_ALLOCATE);
    ask('now', sub { volume($raw) }, $raw, 'get_info');
    say_it('allocated', $raw->get_info->{allocation} >= MIB ? 'yes' : 'no');
    ask('wipe', undef, $raw, 'wipe');
    ask('wipe, flags', undef, $raw, 'wipe', 1);
    ask('wipe with zeros', undef, $raw, 'wipe_pattern', Sys::Virt::StorageVol::WIPE_ALG_ZERO);
    ask('wipe by a pattern', undef, $raw, 'wipe_pattern', Sys::Virt::StorageVol::WIPE_ALG_DOD);
    ask('wipe by no pattern', undef, $raw, 'wipe_pattern', 99);
    say_it('wiped', content("$base/main/raw") eq "\0" x (6 * MIB) ? 'all zeros' : 'not zeros');
    my $clone = $pool->get_volume_by_name('clone');
    ask('delete, flags', undef, $clone, 'delete', 4);
    ask('delete', undef, $clone, 'delete', Sys::Virt::StorageVol::DELETE_NORMAL);
    ask('delete again', undef, $clone, 'delete', 0);
    ask('info of nothing', undef, $clone, 'get_info');
    ask('names', \&sorted, $pool, 'list_storage_vol_names', 100);
}

# ---- streams ----

# Sends the bytes by send_all, in one go.
sub sender {
    my $data = shift;
    my $at = 0;
    return sub {
        my $n = $_[2];
        $_[1] = substr $data, $at, $n;
        $at += length $_[1];
        return length $_[1];
    };
}

sub receiver {
    my $into = shift;
    return sub { $$into .= substr $_[1], 0, $_[2]; return $_[2] };
}

sub stream {
    my ($conn, $flags) = @_;
    $called{'Sys::Virt::new_stream'} = 1;
    return $conn->new_stream($flags || 0);
}

sub transfers {
    my ($conn, $pool) = @_;
    my $data = join '', map { pack 'N', $_ } 0 .. MIB / 4 - 1;
    my $vol = $pool->create_volume(vol_xml('stream', MIB));
    my $st = stream($conn);
    ask('stream, flags', undef, $conn, 'new_stream', 64);
    ask('upload', undef, $vol, 'upload', $st, 0, 0);
    ask('send all', undef, $st, 'send_all', sender($data));
    ask('finish', undef, $st, 'finish');
    settle($pool);
    say_it('uploaded', content("$base/main/stream") eq $data ? 'the same' : 'otherwise');

    my $got = '';
    $st = stream($conn);
    ask('download', undef, $vol, 'download', $st, 0, 0);
    ask('receive all', undef, $st, 'recv_all', receiver(\$got));
    ask('finish', undef, $st, 'finish');
    say_it('downloaded', $got eq $data ? 'the same' : 'otherwise');

    $st = stream($conn);
    ask('upload a part', undef, $vol, 'upload', $st, 4096, 8192);
    ask('send', undef, $st, 'send', 'x' x 5000, 5000);
    ask('send', undef, $st, 'send', 'y' x 3192, 3192);
    ask('finish', undef, $st, 'finish');
    settle($pool);
    substr($data, 4096, 8192) = 'x' x 5000 . 'y' x 3192;
    say_it('uploaded a part', content("$base/main/stream") eq $data ? 'the same' : 'otherwise');

    $st = stream($conn);
    ask('download a part', undef, $vol, 'download', $st, 8000, 3000);
    $got = '';
    while ((my $n = $st->recv(my $piece, 1000)) > 0) {
        $got .= substr $piece, 0, $n;
    }
    $called{'Sys::Virt::Stream::recv'} = 1;
    ask('finish', undef, $st, 'finish');
    say_it('downloaded a part', $got eq substr($data, 8000, 3000) ? 'the same' : 'otherwise');

    ask('upload, flags', undef, $vol, 'upload', stream($conn), 0, 0, 8);
    ask('download, flags', undef, $vol, 'download', stream($conn), 0, 0, 8);
    ask('download from far beyond', undef, $vol, 'download', stream($conn), 1 << 40, 0);
    ask('finish what never began', undef, stream($conn), 'finish');
    ask('send into nothing', undef, stream($conn), 'send', 'x', 1);
    ask('receive from nothing', undef, stream($conn), 'recv', my $none, 1);
    ask('stream is for something else', undef, $vol, 'download', $st, 0, 0);

    $st = stream($conn);
    $vol->download($st, 0, 0);
    $st->recv(my $some, 1000);
    ask('abort a download', undef, $st, 'abort');
    my $spoiled = $pool->create_volume(vol_xml('spoiled', MIB));
    $st = stream($conn);
    $spoiled->upload($st, 0, 0);
    $st->send('x' x 1000, 1000);
    ask('abort an upload', undef, $st, 'abort');
    settle($pool);
    ask('delete what was aborted', undef, $spoiled, 'delete', 0);

    $st = stream($conn);
    $vol->download($st, 0, 0);
    my $failed = eval { $st->recv_all(sub { -1 }); 1 } ? 'no' : 'it is told';
    say_it('the handler fails', $failed);
    eval { $st->abort };
    return $vol;
}

# The same bytes without blocking: the event loop says when.
sub callbacks {
    my ($conn, $vol) = @_;
    my $want = content("$base/main/stream");
    my ($got, $over) = ('', 0);
    my $st = stream($conn, NONBLOCK);
    $vol->download($st, 0, 0);
    ask('callback', undef, $st, 'add_callback', Sys::Virt::Stream::EVENT_READABLE, sub {
        my ($stream, $events) = @_;
        my $n = $stream->recv(my $piece, 100000);
        return if $n == -2;
        $got .= substr $piece, 0, $n if $n > 0;
        $over = 1 if $n <= 0;
    });
    ask('other events', undef, $st, 'update_callback', Sys::Virt::Stream::EVENT_READABLE | Sys::Virt::Stream::EVENT_HANGUP);
    my $end = time + 20;
    Sys::Virt::Event::run_default() while !$over && time < $end;
    ask('callback removed', undef, $st, 'remove_callback');
    ask('finish', undef, $st, 'finish');
    say_it('downloaded without blocking', $got eq $want ? 'the same' : 'otherwise');
}

sub sparse {
    my ($conn, $pool) = @_;
    my $image = "$base/image";
    open my $file, '+>', $image or die $!;
    print $file 'a' x 65536;
    seek $file, 3 * MIB, SEEK_SET;
    print $file 'b' x 65536;
    $file->flush;
    truncate $file, 8 * MIB;
    sysseek $file, 0, SEEK_SET;
    my $vol = $pool->create_volume(vol_xml('sparse', 8 * MIB));
    my $st = stream($conn);
    ask('sparse upload', undef, $vol, 'upload', $st, 0, 0, Sys::Virt::StorageVol::VOL_UPLOAD_SPARSE_STREAM);
    ask('send sparse', undef, $st, 'sparse_send_all',
        sub { sysread $file, $_[1], $_[2] },
        sub {
            my $at = sysseek $file, 0, SEEK_CUR;
            my $end = 8 * MIB;
            return (0, 0) if $at == $end;
            my $data = sysseek($file, $at, SEEK_DATA) // $end;
            my $hole = sysseek($file, $data, SEEK_HOLE) // $end;
            sysseek $file, $at, SEEK_SET;
            return $data > $at ? (0, $data - $at) : (1, $hole - $at);
        },
        sub { sysseek($file, $_[1], SEEK_CUR) ? 0 : -1 });
    ask('finish', undef, $st, 'finish');
    settle($pool);
    say_it('sparse is there', content("$base/main/sparse") eq content($image) ? 'the same' : 'otherwise');

    open my $back, '+>', "$base/back" or die $!;
    my @holes;
    $st = stream($conn);
    ask('sparse download', undef, $vol, 'download', $st, 0, 0, Sys::Virt::StorageVol::VOL_DOWNLOAD_SPARSE_STREAM);
    ask('receive sparse', undef, $st, 'sparse_recv_all',
        sub { syswrite $back, $_[1], $_[2] },
        sub { push @holes, $_[1]; truncate $back, sysseek($back, $_[1], SEEK_CUR) or die $!; return 0 });
    ask('finish', undef, $st, 'finish');
    say_it('sparse came back', content("$base/back") eq content($image) ? 'the same' : 'otherwise', "holes @holes");

    $vol = $pool->create_volume(vol_xml('by-hand', 8 * MIB));
    $st = stream($conn);
    $vol->upload($st, 0, 0, Sys::Virt::StorageVol::VOL_UPLOAD_SPARSE_STREAM);
    ask('hole by hand', undef, $st, 'send_hole', 4 * MIB);
    $st->send('after', 5);
    ask('finish', undef, $st, 'finish');
    settle($pool);
    $st = stream($conn);
    $vol->download($st, 0, 0, Sys::Virt::StorageVol::VOL_DOWNLOAD_SPARSE_STREAM);
    my @parts;
    for (1 .. 100) {
        my $n = $st->recv(my $piece, 65536, Sys::Virt::Stream::RECV_STOP_AT_HOLE);
        last if $n == 0;
        # Filesystems know holes by their blocks.
        push @parts, $n == -3 ? 'hole ' . (ask('hole', sub { 'of some size' }, $st, 'recv_hole') >> 16) . ' x 64 KiB' : 'data';
        last if $n < 0 && $n != -3;
    }
    ask('finish', undef, $st, 'finish');
    say_it('part by part', join ', ', @parts);

    my $odd = $pool->create_volume(vol_xml('odd', MIB));
    for my $hole (0, -5) {
        $st = stream($conn);
        $odd->upload($st, 0, 0, Sys::Virt::StorageVol::VOL_UPLOAD_SPARSE_STREAM);
        ask("hole of $hole", undef, $st, 'send_hole', $hole);
        ask('finish', undef, $st, 'finish');
        settle($pool);
    }
    $odd->delete(0);
}

# ---- the rest ----

sub events {
    my $conn = shift;
    my @seen;
    my $pool = $conn->define_storage_pool(pool_xml('heard', 20));
    my $lifecycle = ask('events of a pool', sub { 'a number' }, $conn, 'storage_pool_event_register_any', $pool,
        Sys::Virt::StoragePool::EVENT_ID_LIFECYCLE, sub { push @seen, $_[1]->get_name . " $_[2] $_[3]" });
    my $refresh = ask('and its refreshes', sub { 'a number' }, $conn, 'storage_pool_event_register_any', undef,
        Sys::Virt::StoragePool::EVENT_ID_REFRESH, sub { push @seen, $_[1]->get_name . ' refresh' });
    $pool->build;
    $pool->create;
    $pool->refresh;
    $pool->destroy;
    $pool->delete;
    $pool->undefine;
    my $timer = Sys::Virt::Event::add_timeout(50, sub { });
    my $end = time + 10;
    Sys::Virt::Event::run_default() until (grep { $_ eq 'heard 1 0' } @seen) || time > $end;
    say_it('heard', join ', ', @seen);
    ask('no longer', undef, $conn, 'storage_pool_event_deregister_any', $lifecycle);
    ask('no longer', undef, $conn, 'storage_pool_event_deregister_any', $refresh);
    ask('no longer again', undef, $conn, 'storage_pool_event_deregister_any', $refresh);
}

sub read_only {
    my $conn = Sys::Virt->new(uri => $uri, readonly => 1);
    my $pool = $conn->get_storage_pool_by_name('main');
    my $vol = $pool->get_volume_by_name('raw');
    ask('read-only: xml', sub { length $_[0] > 100 }, $pool, 'get_xml_description');
    ask('read-only: info', sub { volume($vol) }, $vol, 'get_info');
    ask("read-only: $_->[0]", undef, $pool, @$_) for ['refresh'], ['destroy'], ['create'], ['build'], ['delete'], ['undefine'],
        ['set_autostart', 1], ['create_volume', vol_xml('x', 1)], ['clone_volume', vol_xml('x', 1), $vol];
    ask("read-only: $_->[0]", undef, $vol, @$_) for ['delete'], ['resize', 1], ['wipe'], ['wipe_pattern', 0],
        ['upload', stream($conn), 0, 0], ['download', stream($conn), 0, 0];
    ask("read-only: $_->[0]", undef, $conn, @$_) for ['define_storage_pool', pool_xml('x', 50)],
        ['create_storage_pool', pool_xml('x', 50)], ['find_storage_pool_sources', 'dir', '<source/>'];
}

# Every method of the binding that is about storage must have been called.
sub all_was_called {
    no strict 'refs';
    my @missing;
    for my $package (qw(Sys::Virt Sys::Virt::StoragePool Sys::Virt::StorageVol Sys::Virt::Stream)) {
        for my $name (sort keys %{"${package}::"}) {
            next if !defined &{"${package}::$name"} || $name !~ /^[a-z][a-z_]+$/;
            next if $package eq 'Sys::Virt' && $name !~ /storage|new_stream/;
            next if $name eq 'new' || $called{"${package}::$name"};
            push @missing, "${package}::$name";
        }
    }
    die "never called: @missing\n" if @missing;
}

my $conn = Sys::Virt->new(uri => $uri);
connection($conn);
lists($conn, 'no pools');
my $pool = pools($conn);
volumes($conn, $pool);
my $vol = transfers($conn, $pool);
callbacks($conn, $vol);
sparse($conn, $pool);
events($conn);
read_only();
ask('stop', undef, $pool, 'destroy');
ask('delete what is full', undef, $pool, 'delete');
ask('undefine', undef, $pool, 'undefine');
lists($conn, 'at the end');
all_was_called();
