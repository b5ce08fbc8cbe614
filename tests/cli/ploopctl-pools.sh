#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The life of a pool, told by ploopctl pool, and what it refuses at each stage.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"

try "nothing is there at first"
equals "$(ctl -q pool list)" ""
equals "$(ctl pool list --json)" "[]"
refuses 3 "'p'" pool info p
refuses 3 "'p'" pool start p
refuses 3 "'p'" vol list p

try "a pool is defined from options"
prints "Pool p defined" ctl pool define-as p dir --target "$tmp/p"
equals "$(ctl -q pool list | xargs)" "p dir inactive no - - - -"
equals "$(ctl pool-list)" "$(printf ' Name   State   Autostart\n---------------------------\n')"
equals "$(ctl -q pool-list --all)" " p   inactive   no"
equals "$(ctl pool name "$(ctl pool uuid p)")" p
equals "$(ctl pool dumpxml p --xpath /pool/target/path)" "<path>$tmp/p</path>"

try "an inactive pool has no volumes and is not stopped"
refuses 4 "'p'" vol list p
refuses 4 "'p'" vol create-as p v 1M
refuses 4 "'p'" pool destroy p
refuses 4 "'p'" pool refresh p

try "a pool whose directory is not there does not start"
fails 1 ctl pool start p
[ ! -e "$tmp/p" ] || die "the directory was made"

try "building makes the directory, starting the pool"
prints "Pool p built" ctl pool build p
prints "Pool p started" ctl pool start p
refuses 4 "'p'" pool start p
refuses 4 "'p'" pool undefine p
refuses 4 "'p'" pool delete p
equals "$(ctl pool list --json | json '[(p["name"], p["state"], p["persistent"], p["volumes"]) for p in j]')" \
    "[('p', 'running', True, 0)]"
prints "running" ctl pool info p
prints "$tmp/p" ctl pool info p

try "autostart is a link beside the definition"
prints "Pool p marked as autostarted" ctl pool autostart p
equals "$(readlink state/config/autostart/p.xml)" "$tmp/state/config/p.xml"
equals "$(ctl pool list --name --autostart)" p
prints "Pool p unmarked as autostarted" ctl pool autostart p --disable
equals "$(ctl pool list --name --autostart)" ""
[ ! -e state/config/autostart/p.xml ] || die "the link is still there"

try "what another program put into the directory is found by a refresh"
truncate -s 1M p/found
prints "Pool p refreshed" ctl pool refresh p
equals "$(ctl vol list --name p)" found
equals "$(ctl pool info p --json | json '(j["volumes"], j["broken"])')" "(1, 0)"

try "a pool that stops keeps its files, one that is undefined too"
refuses 4 "'p'" pool undefine p
prints "Pool p destroyed" ctl pool destroy p
fails 1 ctl pool delete p
prints "Pool p has been undefined" ctl pool undefine p
[ -e p/found ] || die "a file is gone"
equals "$(ctl pool list --name)" ""

try "deleting removes an empty directory"
rm p/found
ctl -q pool define-as p dir --target "$tmp/p"
prints "Pool p deleted" ctl pool delete p
[ ! -e p ] || die "the directory is still there"
ctl -q pool undefine p

try "a transient pool is forgotten when it stops"
prints "Pool t created" ctl pool create-as t dir --target "$tmp/t" --build
equals "$(ctl pool list --name --transient)" t
equals "$(ctl pool list --name --persistent)" ""
fails 1 ctl pool autostart t
ctl -q pool destroy t
equals "$(ctl pool list --name)" ""

try "definitions come from XML, from a file or from standard input"
cat >pool.xml <<END
<pool type='dir'><name>x</name><target><path>$tmp/t</path></target></pool>
END
prints "Pool x defined from pool.xml" ctl pool define pool.xml
ctl -q pool undefine x
prints "Pool x created from -" ctl pool create - <pool.xml
equals "$(ctl pool info x --json | json 'j["persistent"]')" False
ctl -q pool destroy x
equals "$(ctl pool define pool.xml --json | json '(j["name"], j["state"])')" "('x', 'inactive')"

try "a definition that makes no sense is refused with a reason"
refuses 3 "absent.xml" pool define absent.xml
echo '<pool type="dir">' >bad.xml
says 2 "" ctl pool define bad.xml
refuses 2 "nosuch" pool define-as y nosuch --target "$tmp/y"
refuses 2 "a/b" pool define-as a/b dir --target "$tmp/y"
refuses 2 "" pool define-as y dir
equals "$(ctl pool list --name)" x

try "two pools do not share a directory, a name or a UUID"
refuses 4 "x" pool define-as y dir --target "$tmp/t"
refuses 4 "x" pool create-as x dir --target "$tmp/other"

try "XML is printed without making anything"
equals "$(ctl pool define-as "<&'" dir --target /x --print-xml | grep name)" "  <name>&lt;&amp;&apos;</name>"
equals "$(ctl pool list --name)" x

try "what can be started here is told"
ctl pool capabilities >capabilities
grep -q "<pool type='dir' supported='yes'>" capabilities || die "no dir pools"
grep -q "<pool type='rbd' supported='no'>" capabilities || die "rbd pools"

try "lists are picked by type"
equals "$(ctl pool list --name --type dir)" x
equals "$(ctl pool list --name --type fs,netfs)" ""
refuses 2 "frob" pool list --type frob

try "while a daemon owns the state it can be looked at, and changes are refused with its process id"
ctl -q pool start x
cp -r state other-state
cat >lock.py <<'END'
import fcntl, os, sys, time
f = open('other-state/run/driver.pid', 'a+')
fcntl.lockf(f, fcntl.LOCK_EX)
f.truncate(0)
f.write(f'{os.getpid()}\n')
f.flush()
print('locked', flush=True)
time.sleep(60)
END
coproc owner { exec python3 lock.py; }
cleanup_fn kill "$owner_PID"
read -r _ <&"${owner[0]}"
equals "$("$PLOOPCTL" --state-dir other-state pool list --name)" x
says 4 "$owner_PID" "$PLOOPCTL" --state-dir other-state pool destroy x
