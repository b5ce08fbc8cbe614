#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# A definition in the editor: checked when it comes back, and never half taken.
. "${0%/*}/../lib/functions.sh"
. "$_tests/cli/ploopctl.sh"
unset VISUAL
ctl -q pool define-as p dir --target "$tmp/p"
before=$(ctl pool dumpxml p)

# editor COMMAND...: what is run as the editor, the file being its last argument.
editor() {
    printf '#!/bin/bash\n%s\n' "$*" >ed
    chmod +x ed
    export EDITOR="$tmp/ed"
}

try "a definition that was not changed is left alone"
editor 'cp "$1" seen'
prints "not changed" ctl pool edit p
equals "$(cat seen)" "$(ctl pool dumpxml p --inactive)"

try "the editor may have arguments, and VISUAL goes first"
editor '[ "$1 $2" = "-w --wait" ] && sed -i "s|/p</path>|/q</path>|" "$3"'
VISUAL="$EDITOR -w --wait" EDITOR=/bin/false prints "edited" ctl pool edit p
equals "$(ctl pool dumpxml p --xpath //path)" "<path>$tmp/q</path>"

try "a definition that makes no sense is refused and nothing changes"
editor 'echo "<pool" >"$1"'
says 2 "" ctl pool edit p </dev/null
equals "$(ctl pool dumpxml p --xpath //path)" "<path>$tmp/q</path>"
editor 'sed -i "s|<name>p|<name>r|" "$1"'
refuses 2 "name" pool edit p

try "at a terminal it can be edited again"
editor 'if grep -q broken "$1"; then sed -i "s|<broken|<pool|" "$1"; else sed -i "s|<pool|<broken|; s|/q<|/r<|" "$1"; fi'
python3 - "$PLOOPCTL" "$tmp/state" <<'END'
import os, pty, sys
answers = [b'y\n']
def read(fd):
    data = os.read(fd, 4096)
    if b'Edit again?' in data and answers:
        os.write(fd, answers.pop())
    return data
sys.exit(os.waitstatus_to_exitcode(pty.spawn([sys.argv[1], '--state-dir', sys.argv[2], 'pool', 'edit', 'p'], read)))
END
equals "$(ctl pool dumpxml p --xpath //path)" "<path>$tmp/r</path>"

try "an editor that fails or is not there changes nothing"
editor 'sed -i "s|/r<|/s<|" "$1"; exit 3'
refuses 1 "editor" pool edit p
EDITOR=$tmp/nosuch refuses 1 "nosuch" pool edit p
equals "$(ctl pool dumpxml p --xpath //path)" "<path>$tmp/r</path>"

try "no temporary file is left"
mkdir tmpdir
editor true
TMPDIR=$tmp/tmpdir ctl -q pool edit p
equals "$(ls tmpdir)" ""
[ "$before" != "$(ctl pool dumpxml p)" ] || die "nothing was edited"
