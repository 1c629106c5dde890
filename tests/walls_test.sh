#!/bin/sh
# tools/walls must see one breach of each kind, and nothing in a clean tree: planted here in a temporary copy.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/kist-walls.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
failed=0

# A tree of our own, so that the test does not depend on the state of the real one.
fresh() {
    rm -rf "$tmp/tree"
    mkdir -p "$tmp/tree/include"
    for room in base crypt engine model cli; do
        mkdir -p "$tmp/tree/src/$room"
        printf '/* %s.c: clean. */\n#include "base/%s.h"\n\nint %s_get(void)\n{\n    return 1;\n}\n' \
            "$room" "$room" "$room" >"$tmp/tree/src/$room/$room.c"
    done
    printf '/* kist.h */\n' >"$tmp/tree/include/kist.h"
}

# expect FILE RULE: a breach of RULE is reported in FILE, and the exit status says so.
expect() {
    if "$here/tools/walls" "$tmp/tree" >"$tmp/out"; then
        echo "not seen: $2 in $1"
        failed=1
    elif ! grep -q "^$1:[0-9]*: $2: " "$tmp/out"; then
        echo "not named: $2 in $1:"
        cat "$tmp/out"
        failed=1
    fi
}

# plant FILE RULE LINE: FILE with LINE added breaks RULE.
plant() {
    fresh
    printf '%s\n' "$3" >>"$tmp/tree/$1"
    expect "$1" "$2"
}

fresh
if ! "$here/tools/walls" "$tmp/tree"; then
    echo "a clean tree is refused"
    failed=1
fi

# The comment and the string name banned functions without calling them; the member is not the function.
fresh
cat >>"$tmp/tree/src/model/model.c" <<'C'
/* malloc(1), open("x") and #include "cli/cli.h" in a comment */
const char *model_text = "free(p) time(0)";
int model_open(const struct ops *ops, struct ops *p)
{
    return ops->open(1) + p->ops.free(2) + tree_free(3);
}
C
if ! "$here/tools/walls" "$tmp/tree"; then
    echo "innocent code is refused"
    failed=1
fi

plant src/base/base.c include '#include "crypt/crypt.h"'
plant src/crypt/crypt.c include '#include "engine/engine.h"'
plant src/engine/engine.c include '#include "model/model.h"'
plant src/model/model.c include '#include "cli/cli.h"'
plant src/cli/cli.c include '#include "server/server.h"'
plant src/model/model.c include '#include "model.h"'
plant src/model/model.c foreign '#include <sodium.h>'
plant src/model/model.c foreign '#include <jansson.h>'
plant src/cli/cli.c foreign '#include <zstd.h>'
plant src/base/base.c banned 'int base_x(char *p) { return strcpy(p, "a") != p; }'
plant src/cli/cli.c banned 'int cli_x(char *p) { return sprintf(p, "a"); }'
plant src/cli/cli.c banned 'int cli_x(char *p) { return atoi(p); }'
plant src/crypt/crypt.c banned 'void *crypt_x(void) { return malloc(1); }'
plant src/model/model.c banned 'void *model_x(void) { return calloc (1, 1); }'
plant src/model/model.c banned 'void *model_x(void *p) { return realloc(p, 1); }'
plant src/model/model.c banned 'void model_x(void *p) { free(p); }'
plant src/engine/engine.c banned 'int engine_x(void) { return open("a", 0); }'
plant src/engine/engine.c banned 'long engine_x(void) { return time(0); }'
plant src/cli/cli.c banned 'void *cli_x(void) { return fopen("a", "r"); }'
plant src/model/model.c banned 'void model_x(void) { printf("a"); }'
plant src/model/model.c banned 'void *model_x(void) { return stderr; }'
plant src/model/model.c words '/* FIXME later */'

fresh
awk 'BEGIN { print "/* long.c: too long. */"; for (i = 1; i <= 800; i++) print "" }' >"$tmp/tree/src/base/long.c"
expect src/base/long.c size
fresh
awk 'BEGIN { print "/* f.c: too long. */\nint f_f(void)\n{"; for (i = 1; i <= 69; i++) print "    ;"; print "}" }' \
    >"$tmp/tree/src/base/f.c"
expect src/base/f.c size
fresh
awk 'BEGIN { print "/* f.c: just fits. */\nint f_f(void)\n{"; for (i = 1; i <= 68; i++) print "    ;"; print "}" }' \
    >"$tmp/tree/src/base/f.c"
if ! "$here/tools/walls" "$tmp/tree"; then
    echo "a function of 70 lines is refused"
    failed=1
fi
fresh
printf 'int bare_get(void);\n' >"$tmp/tree/src/base/bare.c"
expect src/base/bare.c essay
fresh
mkdir "$tmp/tree/src/attic"
expect src/attic room
exit $failed
