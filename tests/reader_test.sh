#!/bin/sh
# A second reader, written from docs/format.md alone (reader.py), finds in a store and in its backup what `kist export` says.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kist-reader.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
kist=${KIST:?the program}
failed=0
unset KIST_STORE KIST_KEY_FILE

k() {
    "$kist" -s "$tmp/store" --key-file "$tmp/key" "$@"
}

# What the program exports of each bucket given, and what the reader printed, in one form; they must be the same.
cat >"$tmp/compare.py" <<'PY'
import base64, json, sys
def plain(kind, value):
    return value if kind == 'raw' else json.loads(value)
def exported(path, bucket):
    for line in open(path, encoding='utf-8'):
        r = json.loads(line)
        key = base64.b64decode(r['set']['base64']) if isinstance(r['set'], dict) else r['set'].encode()
        value = base64.b64decode(r['base64']) if 'base64' in r else r['value']
        if r['type'] == 'raw' and isinstance(value, str):
            value = value.encode()
        elif isinstance(value, bytes):
            value = plain(r['type'], value)
        yield bucket, key, r['type'], value, r.get('expires_ms', 0)
def read(path):
    for line in open(path, encoding='utf-8'):
        r = json.loads(line)
        yield (r['bucket'], base64.b64decode(r['key']), r['type'], plain(r['type'], base64.b64decode(r['value'])),
               r['expires_ms'])
ours = [r for b in sys.argv[3:] for r in exported(f'{sys.argv[2]}/export.{b}', b)]
theirs = list(read(sys.argv[1]))
missing, extra = [r for r in ours if r not in theirs], [r for r in theirs if r not in ours]
if missing or extra or len(ours) != len(theirs) or not ours:
    sys.exit(f'{len(ours)} exported, {len(theirs)} read; not read: {missing[:3]}; not exported: {extra[:3]}')
PY

# same WHAT BUCKET...: the store's files, and a backup of it, read by reader.py, against the export of the buckets.
same() {
    what=$1
    shift
    for bucket; do
        k -b "$bucket" export >"$tmp/export.$bucket"
    done
    rm -f "$tmp/backup"
    k backup "$tmp/backup" 2>/dev/null
    if ! python3 "$here/reader.py" "$tmp/key" "$tmp/store" >"$tmp/read" ||
        ! python3 "$tmp/compare.py" "$tmp/read" "$tmp" "$@"; then
        echo "the reader differs: $what"
        failed=1
    fi
    if ! python3 "$here/reader.py" "$tmp/key" --backup "$tmp/backup" >"$tmp/read" ||
        ! python3 "$tmp/compare.py" "$tmp/read" "$tmp" "$@"; then
        echo "the reader differs: the backup, $what"
        failed=1
    fi
}

scenario() {
    k init --suite "$1"
    k put first 'a value' >/dev/null
    printf '%s' -17 | k put number - >/dev/null
    k put float 2.5e3 >/dev/null
    k put json '{"a":[1,null,"é"]}' >/dev/null
    k put gone away >/dev/null
    k put empty '' >/dev/null
    printf '\000\377bytes\n' | k put bytes - >/dev/null
    head -c 300000 /dev/urandom | k put large - >/dev/null
    same "suite $1, a few puts" default

    k del gone >/dev/null
    k put --ttl 1h 'for an hour' x >/dev/null
    {
        i=0
        while [ $i -lt 500 ]; do
            echo "{\"set\":\"many/$i\",\"value\":\"value $i\"}"
            i=$((i + 1))
        done
        echo '{"set":{"base64":"AP8="},"base64":"//4A"}'
        echo '{"delete":"float"}'
        echo '{"incr":"number","by":20}'
        echo '{"append":"first","value":" and more"}'
    } | k txn >/dev/null
    for bucket in one two three; do
        k bucket create $bucket >/dev/null
        k -b $bucket put name $bucket >/dev/null
    done
    same "suite $1, a transaction and buckets" default one two three

    k bucket delete two >/dev/null
    k bucket rename three drei >/dev/null
    k compact >/dev/null 2>&1
    same "suite $1, compacted" default one drei

    k put first 'anew' >/dev/null
    k del many/7 many/8 many/9 >/dev/null
    i=0
    while [ $i -lt 20 ]; do
        echo "{\"set\":\"many/$((i * 3))\",\"value\":\"again\"}"
        i=$((i + 1))
    done | k -b one txn >/dev/null
    same "suite $1, written over" default one drei

    k rotate >/dev/null 2>&1
    k put last 'under the new key' >/dev/null
    same "suite $1, rotated" default one drei
    k compact >/dev/null 2>&1
    same "suite $1, compacted again" default one drei
}

head -c 32 /dev/urandom >"$tmp/key"
scenario 1

# A whole backup and an increment, restored: compacted segments without an input, a gap in the sequence.
increment() {
    revision=$(k backup "$tmp/whole" 2>&1 | sed -n 's/.*revision //p')
    "$kist" -s "$tmp/copy" --key-file "$tmp/key" restore "$tmp/whole"
    k put first 'since then' >/dev/null
    k del last json >/dev/null
    k bucket delete drei >/dev/null
    i=0
    while [ $i -lt 20 ]; do
        k put "since/$i" $i >/dev/null
        i=$((i + 1))
    done
    k backup --since "$revision" "$tmp/since" 2>/dev/null
    "$kist" -s "$tmp/copy" --key-file "$tmp/key" restore "$tmp/since"
    rm -rf "$tmp/store"
    mv "$tmp/copy" "$tmp/store"
    same 'restored with an increment' default one
    k compact >/dev/null 2>&1
    same 'restored and compacted' default one
    k put last 'behind it' >/dev/null
    k bucket create drei >/dev/null
    k -b drei put name drei >/dev/null
    same 'restored and written' default one drei
}
increment

# The comparison can fail: a record that is gone, and a byte that is changed in the last segment, are seen.
k put one-more x >/dev/null
python3 "$here/reader.py" "$tmp/key" "$tmp/store" >"$tmp/read"
if python3 "$tmp/compare.py" "$tmp/read" "$tmp" default one drei 2>/dev/null; then
    echo "the comparison sees nothing"
    failed=1
fi
python3 - "$tmp/store" <<'PY'
import glob, sys
for path in glob.glob(sys.argv[1] + '/*.log'):
    data = bytearray(open(path, 'rb').read())
    at = len(bytes(data).rstrip(b'\0')) - 200  # in one of the last frames
    data[at] ^= 1
    open(path + '.changed', 'wb').write(data)
PY
for changed in "$tmp"/store/*.changed; do
    mv "${changed%.changed}" "$tmp/original"
    mv "$changed" "${changed%.changed}"
    if python3 "$here/reader.py" "$tmp/key" "$tmp/store" >/dev/null 2>&1; then
        echo "the reader does not see a changed byte in ${changed%.changed}"
        failed=1
    fi
    mv "$tmp/original" "${changed%.changed}"
done
rm -rf "$tmp/store"

if k init --suite 2 2>/dev/null; then
    rm -rf "$tmp/store"
    scenario 2
fi
exit $failed
