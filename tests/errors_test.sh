#!/bin/sh
# docs/errors.md says what src/base/errors.def says, the header numbers its errors the same, and the program ends with the
# exit codes of the table.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kist-errors.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
failed=0

"$here/tools/errors-table" >"$tmp/page"
if ! diff -u "$here/docs/errors.md" "$tmp/page"; then
    echo "docs/errors.md is not current: run tools/errors-table -w"
    failed=1
fi

# "NAME -number", sorted, from both.
sed -n 's/^ERROR(\([A-Z]*\), \([0-9]*\),.*/\1 -\2/p' "$here/src/base/errors.def" | sort >"$tmp/table"
sed -n 's/^ *KIST_\(E[A-Z]*\) = \(-[0-9]*\).*/\1 \2/p' "$here/include/kist.h" | sort >"$tmp/header"
if ! [ -s "$tmp/table" ] || ! diff -u "$tmp/table" "$tmp/header"; then
    echo "include/kist.h and src/base/errors.def number errors differently"
    failed=1
fi

# exits NAME COMMAND...: kist COMMAND ends with the exit code that the page has for NAME.
exits() {
    name=$1
    shift
    wanted=$(sed -n "s/^| \`$name\` | -[0-9]* | \([0-9]*\) |.*/\1/p" "$here/docs/errors.md")
    code=0
    "$KIST" "$@" >"$tmp/out" 2>&1 </dev/null || code=$?
    if [ "$code" != "$wanted" ]; then
        echo "kist $*: exit code $code, but $name has $wanted"
        cat "$tmp/out"
        failed=1
    fi
}
if [ -n "${KIST:-}" ]; then
    export KIST_STORE="$tmp/store" KIST_KEY_FILE="$tmp/key"
    "$KIST" init --new-key "$KIST_KEY_FILE"
    exits KIST_ENOKEY get nobody
    exits KIST_ENOBUCKET get -b nowhere nobody
    exits KIST_ENOSTORE -s "$tmp/none" list
    exits KIST_EDENIED bucket delete default
    "$KIST" put a text
    exits KIST_EEXIST put --if-absent a again
    exits KIST_ECONFLICT put --if-revision 1 a again
    exits KIST_ETYPE incr a
    head -c 32 /dev/urandom >"$tmp/other"
    exits KIST_EKEY --key-file "$tmp/other" list
fi
exit $failed
