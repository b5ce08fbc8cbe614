#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Long operations are jobs: seen, waited for and stopped, from another process or by Ctrl-C.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
a_pool
head -c 1M /dev/urandom >bytes
ctl -q vol create-as p v 64M --allocation 0
ctl -q vol create-as p other 1M --allocation 0

# slow_upload: one that goes on until $tmp/stop is there; $upload is its process.
slow_upload() {
    rm -f stop
    # bash starts what is in the background with SIGINT ignored.
    env --default-signal=INT "$PLOOPCTL" --state-dir "$tmp/state" vol upload p/v - 2>err \
        < <(cat bytes; until [ -e stop ]; do sleep 0.05; done) &
    upload=$!
    for ((i = 0; i < 200; i++)); do
        [ "$(ctl job list --json)" = "[]" ] || return 0
        sleep 0.05
    done
    die "no job is seen"
}
# ended CODE: how the upload did.
ended() {
    local rc=0
    wait "$upload" || rc=$?
    touch stop
    equals "$rc" "$1"
}
job_id() {
    ctl job list --json | json 'j[0]["id"]'
}

try "nothing runs at first"
equals "$(ctl job list --json)" "[]"
refuses 3 "frob" job wait frob
refuses 3 "frob" job cancel frob

try "a job tells what it is"
slow_upload
equals "$(ctl job list --json | json '[(x["kind"], x["pool"], x["volume"], x["program"], x["cancelled"]) for x in j]')" \
    "[('upload', 'p', 'v', 'ploopctl', False)]"
equals "$(ctl job list --json | json 'j[0]["pid"]')" "$upload"
ctl -q job list | grep ' upload .* p/v .*ploopctl' >/dev/null || die "not in the table"

try "the volume is busy, everything else goes on"
refuses 4 "ploopctl" vol delete p/v
refuses 4 "ploopctl" vol resize p/v 65M
ctl -q vol resize p/other 2M
ctl -q pool refresh p
ctl -q vol list p >list
equals "$(wc -l <list)" 2

try "a wait has an end"
id=$(job_id)
refuses 5 "" job wait "$id" --timeout 1
ctl job wait "$id" &
waiting=$!
sleep 0.5
touch stop
wait "$waiting"
ended 0
equals "$(state_of v)" good

try "another process cancels it"
slow_upload
prints "asked to stop" ctl job cancel "$(job_id)"
ended 8
grep -q '^Error: .*cancelled' err || die "no word of it"
equals "$(ctl job list --json)" "[]"
equals "$(state_of v)" incomplete

try "a signal cancels it as well"
for signal in INT TERM HUP; do
    slow_upload
    kill -"$signal" "$upload"
    ended 8
    equals "$(grep -c '^Error: ' err)" 1
done

try "a process that is killed leaves no job"
slow_upload
kill -KILL "$upload"
ended 137
equals "$(ctl job list --json)" "[]"
equals "$(state_of v)" incomplete
ctl -q vol wipe p/v
equals "$(state_of v)" good

try "progress goes to a descriptor"
ctl --progress-fd 7 vol upload p/other bytes 7>lines
equals "$(tail -1 lines)" 1048576/1048576
