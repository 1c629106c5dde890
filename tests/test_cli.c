/* The program kist, from outside: what it prints, how it ends, and what it leaves behind. */
#include "cli_rig.h"

/* -- commands -- */

static void a_value_comes_back_as_it_was_put(void **state)
{
    (void)state;
    check(0, "", "kist put a hello");
    check(0, "hello", "kist get a");
    check(0, "", "printf 'x\\000y\\r\\n' >v && kist put b - <v && kist get b | cmp - v");
    check(0, "", "kist put c <v && kist get c | cmp - v");
    check(0, "", "kist put d --file v && kist get d | cmp - v");
    check(0, "", "kist put -f v e && kist get e | cmp - v");
    check(0, "0\n", "kist put f '' && kist get f | wc -c");
    check(0, "", "head -c 3000000 /dev/urandom >v && kist put g <v && kist get g | cmp - v");
    check(2, "*either VALUE or --file", "kist put a x --file v");
    check(0, "*\"type\":\"json\"", "kist put j '{\"a\": 1}' && kist get j --json");
    check(0, "*{\"value\":\"12\",\"type\":\"raw\"", "kist put r 12 --type raw && kist get r --json");
    check(1, "*not valid JSON", "kist put j '{' --type json");
    check(0, "{\"a\": 1}", "kist get j");
}

static void a_missing_key_is_exit_code_3(void **state)
{
    (void)state;
    check(3, "kist: get: no such key\n", "kist get nope");
    check(0, "", "kist del nope");
    check(3, "*no such bucket", "kist -b nope list");
    check(3, "*no store at ", "kist -s other get a");
    check(1, NULL, "test -e other");
}

static void conditions_that_fail_are_exit_code_4(void **state)
{
    (void)state;
    check(0, "", "kist put a 1 --if-absent");
    check(4, "kist: put: it exists already\n", "kist put a 2 --if-absent");
    check(4, "*changed by somebody else", "kist put a 2 --if-revision 0");
    check(4, NULL, "kist del a --if-revision 999");
    check(0, "2",
          "r=$(kist get a --json | sed 's/.*revision\":\\([0-9]*\\).*/\\1/') && kist put a 2 "
          "--if-revision $r && kist get a");
    check(3, "kist: put: no such key\n", "kist put b 2 --if-present");
    check(0, "", "kist put b 2 --if-revision 0");
    check(2, NULL, "kist put a 2 --if-revision -1");
    check(2, NULL, "kist put a 2 --if-revision x");
    check(2, NULL, "kist put a 2 --if-revision 99999999999999999999");
}

static void incr_counts(void **state)
{
    (void)state;
    check(0, "1\n", "kist incr n");
    check(0, "6\n", "kist incr n 5");
    check(0, "1\n", "kist incr n -5");
    check(0, "-4\n", "kist incr n -- -5");
    check(0, "-4", "kist get n");
    check(0, "-3.5\n", "kist incr n 0.5");
    check(0, "-0.25\n", "kist incr --ttl 1h m -0.25");
    check(0, "9223372036854775807\n", "kist incr big 9223372036854775807");
    check(1, "kist: incr: the number would leave its range\n",
          "kist incr big 2>&1 | sed 's/range.*/range/'; exec kist incr big 2>/dev/null");
    check(0, "9223372036854775807", "kist get big");
    check(1, "*another type", "kist put t text && kist incr t");
    check(2, NULL, "kist incr n x");
    check(2, NULL, "kist incr n NaN");
    check(2, NULL, "kist incr n inf");
    check(2, NULL, "kist incr n 1e999");
}

static void a_counter_becomes_a_float_only_when_asked_for(void **state)
{
    (void)state;
    check(0, "7\n7\n", "kist incr c 7; kist incr c -0");
    check(1, "*the number would leave its range: an int has at most 64 bits", "kist incr c 9223372036854775808");
    check(1, "*range", "kist incr c -9223372036854775809");
    check(1, "*line 1: the number would leave its range: by: an int",
          "echo '{\"incr\":\"c\",\"by\":9223372036854775808}' | kist txn");
    check(0, "*\"value\":7}", "echo '{\"incr\":\"c\",\"by\":-0}' | kist txn");
    check(0, "*{\"value\":7,\"type\":\"int\"", "kist get c --json");
    check(0, "7.0\n107.0\n100107.0\n", "kist incr c 0e0; kist incr c 1E2; kist incr c 100000.0");
    check(0, "*{\"value\":100107.0,\"type\":\"float\"", "kist get c --json");
}

static void a_negative_number_is_an_argument(void **state)
{
    (void)state;
    check(0, "-17\n-18\n", "kist incr n -17; kist incr n -1");
    check(0, "-17", "kist put k -17 && kist get k");
    check(0, "-17", "kist put -t 1h k -17 --type raw && kist get k");
    check(0, "-.5x", "kist put -- k -.5x && kist put k -.5x && kist get k");
    check(0, "v", "kist put -5 v && kist get -5");
    check(0, "-5\n", "kist list -5");
    check(0, "3\n", "kist list -0 | tr -cd '\\000' | wc -c");
    check(2, "*unknown option -7", "kist list -07");
    check(2, "*--if-revision: a number", "kist put k 1 --if-revision -1");
    check(2, "*unknown command -5", "kist -5");
}

/* Where it is set, getopt() takes every word behind the first argument for an argument. */
static void posixly_correct_does_not_make_arguments_of_options(void **state)
{
    (void)state;
    check(0, "", "kist put k v; kist put 9 v; kist put -- --if-revision v");
    check(4, NULL, "export POSIXLY_CORRECT=1; exec kist del k --if-revision 9");
    check(0, "--if-revision\n9\nk\n", "kist list");
    check(0, "", "export POSIXLY_CORRECT=1; kist del k -- --if-revision 9; kist list");
    check(0, "b\n", "export POSIXLY_CORRECT=1; kist put a v; kist put b v -t 1h; kist list b -rn 1");
    check(0, "*expires_ms", "kist get b --json");
}

static void list_shows_names_and_values(void **state)
{
    (void)state;
    check(0, "", "kist put a 1; kist put b/1 '{}'; kist put b/2 'x\ny'; kist put -- -k '='");
    check(0, "-k\na\nb/1\nb/2\n", "kist list");
    check(0, "b/1\nb/2\n", "kist list b/");
    check(0, "b/2\nb/1\n", "kist list -r -n 2");
    check(0, "-k==\na=1\nb/1={}\nb/2=x\\ny\n", "kist list --values");
    check(0, "[\"b/1\",{}]\n[\"b/2\",\"x\\ny\"]\n", "kist list --values --json b");
    check(0, "2\n", "kist put \"$(printf 'n\\nl')\" 1; kist list n | wc -l");
    check(0, "1\n", "kist list -0 n | tr -cd '\\000' | wc -c");
    check(0, "\"n\\nl\"\n", "kist list --json n");
    check(0, "{\"base64\":\"//4=\"}\n", "kist put \"$(printf '\\377\\376')\" 1; kist list --json \"$(printf '\\377')\"");
    check(0, "", "kist list zzz");
    check(0, "", "kist list --limit 0");
}

static void strange_keys_are_keys(void **state)
{
    (void)state;
    static const char *const keys[] = {"..",    "/",     "//",           " ",       "*", "?[a-z]", "-", "--", "a=b",
                                       "$HOME", "\"'\\", "\xff\xff\xff", "\xc3\xa4"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        setenv("K", keys[i], 1);
        check(0, "v", "kist put -- \"$K\" v && kist get -- \"$K\" && kist del -- \"$K\"");
        check(3, NULL, "kist get -- \"$K\"");
    }
    check(2, "*at least 1 byte", "kist put '' v");
    check(0, "", "kist put $(head -c 4096 /dev/zero | tr '\\000' k) v");
    check(7, "*larger than the limit", "kist put $(head -c 4097 /dev/zero | tr '\\000' k) v");
    check(7, NULL, "kist put $(head -c 65536 /dev/zero | tr '\\000' k) v");
}

static void values_end_at_64_mib(void **state)
{
    (void)state;
    check(0, "67108864\n", "head -c 67108864 /dev/zero | kist put a && kist get a | wc -c");
    check(7, NULL, "head -c 67108865 /dev/zero | kist put b");
    check(7, NULL, "kist put b --file /dev/zero");
    check(3, NULL, "kist get b");
}

static void a_ttl_ends(void **state)
{
    (void)state;
    check(0, "v", "kist put a v --ttl 1 && kist get a");
    check(3, NULL, "sleep 1.1; kist get a");
    check(0, "*expires_ms", "kist put b v --ttl 2h && kist put b w && kist get b --json");
    check(0, "{\"value\":\"w\",\"type\":\"raw\"}\n",
          "kist put b w --ttl never && kist get b --json | sed 's/,\"revision\":[0-9]*//'");
    static const char *const bad[] = {"0",   "-1",   "9223372036854775808", "",  "abc", "1x", "1.5",
                                      "1ms", "53w1", "99999999999w",        " 1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        setenv("T", bad[i], 1);
        check(2, "*--ttl: a time like", "kist put c v --ttl \"$T\"");
    }
    check(3, NULL, "kist get c");
}

static void txn_does_all_or_nothing(void **state)
{
    (void)state;
    check(0,
          "{\"ok\":true}\n{\"value\":5}\n{\"found\":true,\"value\":{\"p\":0.10},\"type\":\"json\","
          "\"revision\":0}\n{\"found\":false}\n"
          "{\"existed\":false}\n{\"length\":3}\n{\"ok\":true}\n",
          "printf '%s\\n' '{\"set\":\"x\",\"value\":{\"p\":0.10}}' '' '{\"incr\":\"c\",\"by\":5}' "
          "'{\"get\":\"x\"}' '{\"get\":\"no\"}' "
          "'{\"delete\":\"no\"}' '{\"append\":\"l\",\"value\":\"abc\"}' "
          "'{\"merge\":\"x\",\"value\":{\"q\":1}}' | kist txn | grep -v '^{\"revision\":[0-9]*}$'");
    check(0, "{\"p\":0.10,\"q\":1}", "kist get x");
    check(4, "kist: txn: line 2: changed by somebody else meanwhile\n",
          "printf '%s\\n' '{\"set\":\"y\",\"value\":1}' "
          "'{\"set\":\"x\",\"value\":1,\"if_revision\":0}' | kist txn");
    check(2, "*line 2: invalid argument",
          "printf '%s\\n' '{\"set\":\"y\",\"value\":1}' '{\"sett\":\"x\",\"value\":1}' | kist txn");
    check(1, "*line 3", "printf '%s\\n' '{\"set\":\"y\",\"value\":1}' '' '{' | kist txn");
    check(3, NULL, "kist get y");
    check(0, "*{\"revision\":", "kist txn </dev/null");
    check(1, "*another type", "echo '{\"incr\":\"x\"}' | kist txn");
}

/* Opening with the second of two keys has met a slot that it does not open. */
static void a_failure_is_not_explained_by_another_one(void **state)
{
    (void)state;
    check(0, "1\n", "kist slots add --new-key key2; kist --key-file key2 put n 1");
    check(0, "1\n", "KIST_KEY_FILE=key2 kist incr n 0; true");
    check(1, "kist: import: line 1: not valid JSON\nkist: import: 0 records before it are stored\n",
          "echo '{\"set\":\"a\",\"base64\":\"ew==\",\"type\":\"json\"}' | kist --key-file key2 "
          "import");
    check(2, "kist: txn: line 2: invalid argument: a key has at least 1 byte\n",
          "printf '%s\\n' '{\"set\":\"a\",\"value\":1}' '{\"set\":\"\",\"value\":1}' | "
          "kist --key-file key2 txn");
    check(2, "*line 1: invalid argument: a key has at least 1 byte\n",
          "echo '{\"set\":\"\",\"value\":1}' | kist --key-file key2 import");
}

static void export_goes_into_import(void **state)
{
    (void)state;
    check(0, "",
          "kist put a 1; kist put b 'text\n'; printf '\\377\\000' | kist put c; kist put d "
          "'{\"x\": 1.50}' --ttl 1h; kist put e ' 1' --type raw;"
          "kist put f '\"s\"'; kist put \"$(printf '\\376')\" 1e3; printf '{\\n}' | kist put g");
    check(0, "8\n", "kist export >x && kist -s two init && kist -s two import <x");
    check(0, "", "kist -s two export | cmp - x");
    check(0, "8\n", "kist -s two import x");
    check(0, "",
          "kist -s three init && kist -s three txn <x | grep -v true | grep -v '{\"revision\"'; "
          "kist -s three export | cmp - x");
    check(0, "1\n", "kist export d | wc -l");
    check(2, "*line 2", "printf '%s\\n' '{\"set\":\"i\",\"value\":1}' '{\"get\":\"i\"}' | kist import");
    check(1, "*line 1", "printf '{\"set\"' | kist import");
    check(0, "0\n", "echo '{\"set\":\"old\",\"value\":1,\"expires_ms\":5}' | kist import");
}

/* As in the table of errors: a script tells a missing file from a forbidden one. */
static void a_file_that_cannot_be_opened_has_its_own_exit_code(void **state)
{
    (void)state;
    static const char *const scripts[] = {"kist import none", "kist put a --file none", "kist -s r restore none"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        check(3, "*cannot open none: No such file", scripts[i]);
    check(1, "*Is a directory", "kist put a --file .");
    check(0, "", "echo x >closed; chmod 0 closed");
    if (run("exec <closed") == 0 && run("setpriv --bounding-set=-all true") != 0)
        return; /* root, and cannot give up its right to read everything */
    check(5, "*cannot open closed: Permission denied",
          "drop=; true <closed && drop='setpriv --inh-caps=-all --bounding-set=-all'\n"
          "exec $drop kist put a --file closed");
}

/* -- a "never" of their own, an end that has passed -- */

static void a_never_that_was_asked_for_survives_export_and_import(void **state)
{
    (void)state;
    check(0, NULL, "kist bucket create from --ttl 7d; kist bucket create to --ttl 7d");
    check(0, "2\n",
          "kist -b from put kept 1 --ttl never; kist -b from put usual 2; "
          "kist -b from export >x; grep -v expires_ms x >y; kist -b to import x");
    check(0, "{\"set\":\"kept\",\"value\":1,\"type\":\"int\",\"ttl\":null}\n", "cat y");
    check(1, NULL, "kist -b to get kept --json | grep expires_ms");
    check(0, "*expires_ms", "kist -b to get usual --json");
    check(0, "", "kist -b to export | cmp - x");
    check(1, NULL, "kist -b to put kept 3; kist -b to get kept --json | grep expires_ms");
    check(0, NULL, "kist -b to del kept usual; kist -b to txn <x");
    check(0, "", "kist -b to export | cmp - x");
}

static void an_export_that_has_expired_since_is_replayed_by_txn(void **state)
{
    (void)state;
    check(0, "", "kist put old 1; kist put stays 2");
    check(0, "2\n",
          "printf '%s\\n' '{\"set\":\"old\",\"value\":7,\"expires_ms\":5}' "
          "'{\"set\":\"never-was\",\"value\":7,\"type\":\"int\",\"expires_ms\":5}' | kist txn | "
          "grep -cx '{\"ok\":true}'");
    check(0, "stays\n", "kist list");
}

static void buckets_are_apart(void **state)
{
    (void)state;
    check(0, NULL, "kist bucket create one --ttl 7d");
    check(0, "", "kist -b one put k 1 && kist list");
    check(0, "*expires_ms", "kist get -b one k --json");
    check(4, NULL, "kist bucket create one");
    check(0, "k\n", "kist bucket rename one two && kist list -b two");
    check(0, "default\ntwo\n", "kist bucket list | cut -d' ' -f2");
    check(0, "",
          "kist bucket ttl two --ttl never && kist put -b two l 1 && kist get -b two l --json | "
          "grep expires; true");
    check(5, NULL, "kist bucket delete default");
    check(0, "", "kist bucket delete two");
    check(3, NULL, "kist -b two list");
    check(2, NULL, "kist bucket nonsense");
}

/* -- the program as such -- */

static void usage_errors_are_exit_code_2(void **state)
{
    (void)state;
    static const char *const scripts[] = {"kist",
                                          "kist nosuch",
                                          "kist get",
                                          "kist get a b",
                                          "kist get -x a",
                                          "kist get --nosuch a",
                                          "kist put a b --json",
                                          "kist put a --ttl",
                                          "kist put a b --if-absent=1",
                                          "kist put a b --if-abs",
                                          "kist put a b --type xml",
                                          "kist get a --sync half",
                                          "kist -s '' get a",
                                          "kist --salvage put a b",
                                          "kist list -n x",
                                          "kist init --suite 3",
                                          "kist slots remove 8",
                                          "kist slots nonsense",
                                          "kist get a --key-file key --passphrase-fd 0",
                                          "kist get a --passphrase-fd x",
                                          "kist verify --at-least x",
                                          "kist put a b --lock-timeout x",
                                          "kist put a b --if-absent --if-present"};
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++)
        check(2, "*kist: ", scripts[i]);
}

static void help_and_version_come_without_a_store(void **state)
{
    (void)state;
    check(0, "kist 0.1.0\n", "unset HOME KIST_STORE KIST_KEY_FILE; kist --version");
    check(0, "*usage: kist [-s STORE] COMMAND", "unset HOME KIST_STORE KIST_KEY_FILE; kist --help");
    check(0, "*usage: kist [-s STORE] put", "kist put --help");
    check(0, "*usage: kist [-s STORE] put", "kist -h put a b");
    check(0, NULL,
          "for c in $(kist --help | sed -n 's/^  \\([a-z]*\\) .*/\\1/p'); do kist $c --help "
          ">/dev/null || exit 1; done");
}

static void the_manual_page_and_the_completion_are_those_of_the_tables(void **state)
{
    (void)state;
    if (getenv("KIST_SOURCE"))
        check(0, "", "\"$KIST_SOURCE/tools/manpage\" check");
}

static void a_secret_in_the_arguments_is_refused_and_not_repeated(void **state)
{
    (void)state;
    check(2, "*--key-file", "kist get a --key=hunter2");
    assert_null(strstr(output, "hunter2"));
    check(2, "*--passphrase-fd", "kist --passphrase hunter2 get a");
    assert_null(strstr(output, "hunter2"));
    check(2, "*--passphrase-fd", "kist get a --password hunter2");
    assert_null(strstr(output, "hunter2"));
}

static void output_that_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    check(0, "", "kist put a hello; kist put n 1");
    check(1, "*standard output: No space", "kist get a >/dev/full");
    check(1, "*standard output: No space", "kist list >/dev/full");
    check(1, "*standard output: No space", "kist incr n >/dev/full");
    check(1, "*standard output: No space", "kist --help >/dev/full");
    check(1, "*standard output: Bad file", "kist get a >&-");
    check(1, "*standard input", "kist put b - <&-");
    check(3, NULL, "kist get b");
    check(0, "hello", "kist get a 2>&-");
    check(3, "", "kist get nope 2>&-");
    check(0, "", "kist get a <&- | cat >/dev/null");
}

static void a_reader_that_goes_away_ends_us_quietly(void **state)
{
    (void)state;
    check(0, "x", "head -c 3000000 /dev/zero | tr '\\000' x | kist put big; kist get big | head -c 1");
    check(0, "1 ", "trap '' PIPE; { kist get big; printf '%s ' $? >&2; } | head -c 0");
}

static void no_home_is_said(void **state)
{
    (void)state;
    check(2, "*HOME is not set", "unset HOME KIST_STORE; kist get a");
    check(0, "v",
          "unset KIST_STORE; kist init && kist put a v && kist get a && test -f "
          ".local/share/kist/header");
    check(0, "w",
          "unset KIST_STORE; export XDG_DATA_HOME=$PWD/data; kist init && kist put a w && kist get "
          "a && test -f data/kist/header");
    check(0, "v", "kist -s '~/.local/share/kist' get a");
}

static void files_have_tight_modes(void **state)
{
    (void)state;
    check(0, "600 700\n600\n",
          "umask 0; kist -s s2 --key-file key init; kist put a b; printf '%s %s\\n' $(stat -c %a "
          "key store); stat -c %a store/* s2/* | sort -u");
}

/* -- keys -- */

static void keys_are_read_in_all_their_forms(void **state)
{
    (void)state;
    check(0, "",
          "kist put a v; base64 -d key >raw; od -An -vtx1 raw | tr -d ' \\n' >hex; tr -d '=\\n' "
          "<key >bare; tr '+/' '-_' <key >url; chmod 600 raw hex bare url");
    check(0, "vvvvv", "for k in raw hex bare url key; do kist get a --key-file $k || exit; done");
    check(1, "*: a directory", "kist get a --key-file .");
    check(1, "*: empty", "kist get a --key-file /dev/null");
    check(1, "*31 bytes", "head -c 31 raw >short; chmod 600 short; kist get a --key-file short");
    check(1, "*too long", "kist get a --key-file /dev/zero");
    check(1, "*cannot open key file", "kist get a --key-file none");
    check(0, "*warning: key file key can be read by others", "chmod 644 key; kist get a --key-file key");
    check(5, "*wrong key", "kist -s other init --new-key other.key; kist get a --key-file other.key");
    check(1, NULL, "head -c 32 /dev/zero >zero; chmod 600 zero; kist get a --key-file zero");
    check(5, "*no terminal", "unset KIST_KEY_FILE; kist get a");
}

static void a_key_in_place_of_its_file_is_not_printed(void **state)
{
    static const char *const scripts[] = {"k=$(cat key)", "k=$(base64 -d key | od -An -vtx1 | tr -d ' \n')",
                                          "k=$(tr -d '=' <key)", "k=12345678901234567890123456789012"};
    (void)state;
    for (size_t i = 0; i < sizeof scripts / sizeof scripts[0]; i++) {
        char script[200];
        snprintf(script, sizeof script,
                 "%s; KIST_KEY_FILE=$k kist get a 2>err; s=$?; "
                 "grep -qF \"$k\" err || cat err; exit $s",
                 scripts[i]);
        check(1, "*not shown, for it looks like a key", script);
        snprintf(script, sizeof script,
                 "%s; kist -s o init --new-key none/$k 2>err; cat err; "
                 "kist -s o init --key-file $k",
                 scripts[i]);
        check(1, "*not shown, for it looks like a key", script);
    }
    check(1, "*cannot open key file no/such/file: No such", "KIST_KEY_FILE=no/such/file kist get a");
}

static void a_key_that_was_made_is_45_bytes_and_never_replaces_a_file(void **state)
{
    (void)state;
    check(0, "45\n", "wc -c <key");
    check(4, "*File exists", "kist -s other init --new-key key");
    check(1, NULL, "test -e other");
    check(4, "*there is a store", "kist init --new-key key2");
    check(1, NULL, "test -e key2");
}

static void a_passphrase_is_one_line(void **state)
{
    (void)state;
    check(0, "", "unset KIST_KEY_FILE; printf 'correct horse\\n' | kist -s p init --passphrase-fd 0");
    check(0, "", "printf 'correct horse\\nthe value' | kist -s p put a --passphrase-fd 0");
    check(0, "the value", "printf 'correct horse' | kist -s p get a --passphrase-fd 0");
    check(5, "*wrong key or passphrase", "printf 'correct horsf' | kist -s p get a --passphrase-fd 0");
    check(5, "*empty", "kist -s p get a --passphrase-fd 0 </dev/null");
    check(5, "*empty", "printf '\\nx' | kist -s p get a --passphrase-fd 0");
    check(1, "*Bad file descriptor", "kist -s p get a --passphrase-fd 9");
    check(1, "*longer than 4096", "head -c 4097 /dev/zero | tr '\\000' x | kist -s p get a --passphrase-fd 0");
    check(0, "",
          "head -c 4096 /dev/zero | tr '\\000' x >p4; kist -s q init --passphrase-fd 0 <p4 && kist "
          "-s q list --passphrase-fd 0 <p4");
    check(5, NULL, "printf 'correct\\000horse\\n' | kist -s p get a --passphrase-fd 0");
}

static void passwd_and_slots_change_who_can_open(void **state)
{
    (void)state;
    check(0, "", "kist put a v");
    check(0, "1\n", "echo second | kist slots add --new-passphrase-fd 0 --label two");
    check(0, "0 key \"\"\n1 passphrase \"two\"\n", "kist slots");
    check(0, "v", "echo second | kist get a --passphrase-fd 0");
    check(0, "", "printf 'second\\nthird\\n' | kist passwd --passphrase-fd 0 --new-passphrase-fd 0");
    check(5, NULL, "echo second | kist get a --passphrase-fd 0");
    check(0, "v", "echo third | kist get a --passphrase-fd 0");
    check(0, "v", "kist passwd --new-key key2 && kist get a --key-file key2");
    check(5, NULL, "kist get a");
    check(0, "", "kist slots remove 1 --key-file key2");
    check(5, "*denied", "kist slots remove 0 --key-file key2");
    check(0, "v", "kist get a --key-file key2");
}

static void a_prompt_hides_what_is_typed(void **state)
{
    static const char *const same[] = {"geheim\n", "geheim\n", NULL}, *const differ[] = {"geheim\n", "geheum\n", NULL};
    (void)state;
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t init", differ), 1);
    assert_non_null(strstr(output, "differ"));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t init", same), 0);
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t put a v", same), 0);
    assert_null(strstr(output, "geheim"));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t get a", differ), 0);
    assert_non_null(strstr(output, "v"));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t get a", differ + 1), 5);
}

static void a_prompt_names_the_store(void **state)
{
    static const char *const answers[] = {"geheim\n", "geheim\n", NULL};
    (void)state;
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t init", answers), 0);
    assert_non_null(strstr(output, "New passphrase for t: "));
    assert_non_null(strstr(output, "The same again for t: "));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t list", answers), 0);
    assert_non_null(strstr(output, "Passphrase for t: "));
    (void)at_terminal("unset KIST_KEY_FILE; exec kist -s \"$(printf 'a\\033[2J')\" get a", answers);
    assert_non_null(strstr(output, "Passphrase for a?[2J: "));
}

/* The pause is for the one that would not wait: with the lock nothing happens in it. */
static void two_that_ask_at_once_ask_one_after_the_other(void **state)
{
    static const char *const same[] = {"geheim\n", "geheim\n", NULL};
    static const char *const paused[] = {"!sleep 0.5", "geheim\n", "geheim\n", NULL};
    (void)state;
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t init", same), 0);
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; kist -s t put a v | kist -s t put b w; stty "
                                 "-a",
                                 paused),
                     0);
    assert_null(strstr(output, "geheim"));
    assert_non_null(strstr(output, " echo "));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t list", same), 0);
    assert_non_null(strstr(output, "a\r\nb\r\n"));
}

/* The usual signals and others: each would end the program with the echo off. */
static void any_signal_at_the_prompt_gives_the_echo_back(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM, SIGPIPE, 40};
    (void)state;
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        char kill_it[350], status[40];
        const char *const answers[] = {kill_it, NULL};
        snprintf(kill_it, sizeof kill_it, "!kill -%d $(cat '%s/pid')", signals[i], dir);
        (void)at_terminal("unset KIST_KEY_FILE; sh -c 'echo $$ >pid; exec kist put a v'; echo "
                          "\"status=$?\"; stty -a",
                          answers);
        snprintf(status, sizeof status, "status=%d", 128 + signals[i]);
        if (!strstr(output, status) || !strstr(output, " echo "))
            fail_msg("signal %d:\n%s", signals[i], output);
    }
}

/* Stopped, it neither keeps the echo nor the others from asking; afterwards it asks again. */
static void a_prompt_that_is_stopped_asks_again(void **state)
{
    static const char *const same[] = {"geheim\n", "geheim\n", NULL};
    static const char *const answers[] = {"\x1a", "geheim\n", "geheim\n", NULL};
    (void)state;
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t init", same), 0);
    assert_int_equal(at_terminal("set -m; unset KIST_KEY_FILE; kist -s t put a v; echo "
                                 "\"status=$?\"; stty -a; kist -s t put b w; fg",
                                 answers),
                     0);
    assert_non_null(strstr(output, " echo "));
    assert_int_equal(at_terminal("unset KIST_KEY_FILE; exec kist -s t list", same), 0);
    assert_non_null(strstr(output, "a\r\nb\r\n"));
}

static void a_signal_at_the_prompt_gives_the_echo_back(void **state)
{
    static const char *const interrupt[] = {"\x03", NULL};
    (void)state;
    (void)at_terminal("trap : INT; unset KIST_KEY_FILE; kist put a v; echo \"status=$?\"; stty -a", interrupt);
    assert_non_null(strstr(output, "status=130"));
    assert_non_null(strstr(output, " echo "));
}

static void control_characters_do_not_reach_the_terminal(void **state)
{
    static const char *const none[] = {NULL};
    (void)state;
    check(0, "", "kist put \"$(printf 'a\\033[2Jb')\" v");
    assert_int_equal(at_terminal("kist list", none), 0);
    assert_non_null(strstr(output, "a\\x1b[2Jb"));
    assert_null(memchr(output, '\x1b', output_len));
}

/* -- care -- */

static void stat_and_verify_say_how_it_is(void **state)
{
    (void)state;
    check(0, "*sync full", "kist put a v; kist stat");
    check(0, "*\"keys\":1", "kist stat --json");
    check(0, "*problems 0", "kist verify");
    check(6, "*older than", "kist verify --at-least 100000");
    check(0, "", "kist compact");
    check(0, "", "kist rotate");
    check(0, "v", "kist get a");
}

static void a_backup_is_restored(void **state)
{
    (void)state;
    check(0, NULL, "for i in 1 2 3; do kist put k$i v$i; done; kist backup b1 2>rev");
    check(4, "*File exists", "kist backup b1");
    check(0, "v2", "kist -s r restore b1 && kist -s r get k2");
    check(4, NULL, "kist -s r restore b1 2>/dev/null");
    check(0, "v1", "kist backup - 2>/dev/null | kist -s r2 restore - && kist -s r2 get k1");
    check(6, NULL, "head -c 300 b1 >cut; kist -s r3 restore cut");
    check(1, NULL, "test -e r3");
    check(1, NULL, "kist backup - >/dev/full");
    check(0, "v4",
          "kist put k4 v4; kist backup 2>/dev/null --since $(sed 's/[^0-9]//g' rev) b2 && kist -s "
          "r restore b2 "
          "&& kist -s r get k4 2>/dev/null");
}

static void a_damaged_store_is_exit_code_6(void **state)
{
    (void)state;
    check(6, NULL,
          "kist put a v; printf 'x' | dd of=store/header bs=1 seek=20 conv=notrunc 2>/dev/null; "
          "kist get a");
    check(6, NULL, "kist -s d2 init; echo garbage >d2/header; kist -s d2 get a");
}

/* -- edit -- */

static const char *const leftovers = "ls -d /dev/shm/kist-edit-* 2>/dev/null";

/* An editor that is a script; then edit the key a with it. */
static void editor(const char *script)
{
    char path[300];
    snprintf(path, sizeof path, "%s/my editor", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fprintf(f, "#!/bin/sh\n%s\n", script);
    fclose(f);
    assert_int_equal(chmod(path, 0700), 0);
    setenv("EDITOR", "'./my editor'", 1);
}

static void edit_stores_what_the_editor_left(void **state)
{
    (void)state;
    check(0, "", "kist put a old");
    editor("stat -c '%a' \"$(dirname \"$1\")\" >mode; cat \"$1\" >seen; echo new >\"$1\"");
    check(0, "", "kist edit a");
    check(0, "new", "kist get a");
    check(0, "old", "cat seen");
    check(0, "700\n", "cat mode");
    editor("printf 'by rename' >\"$1.new\"; echo backup >\"$1~\"; mkdir \"$1.d\"; echo x "
           ">\"$1.d/x\"; mv \"$1.new\" \"$1\"");
    check(0, "by rename", "kist edit a && kist get a");
    check(0, "made", "kist edit b && kist put c made && kist get c");
    editor("for i in 1 2 3 4 5 6 7 8 9 10; do echo 0123456789; done >\"$1\"");
    check(0, "109\n", "kist edit a && kist get a | wc -c");
    check(0, "w", "VISUAL=\"sh -c 'printf w >\\\"\\$1\\\"' sh\" kist edit a && kist get a");
    check(2, NULL, leftovers);
}

static void edit_stores_nothing_when_the_editor_does_not_do_its_work(void **state)
{
    static const struct {
        const char *script, *says;
    } cases[] = {{"exit 1", "*failed (exit status 1)"},
                 {"kill -9 $$", "*nothing is stored"},
                 {"true", "kist: edit: unchanged\n"},
                 {"echo >>\"$1\"", "kist: edit: unchanged\n"},
                 {": >\"$1\"", "*empty: nothing is stored"},
                 {"rm \"$1\"", "*left no file"},
                 {"ln -sf /etc/passwd \"$1\"", "*not a plain file"},
                 {"rm \"$1\"; mkfifo \"$1\"", "*not a plain file"},
                 {"rm \"$1\"; mkdir \"$1\"", "*not a plain file"},
                 {"head -c 67108865 /dev/zero >\"$1\"", "*larger than"}};
    (void)state;
    check(0, "", "kist put a old");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        editor(cases[i].script);
        int status = i == 2 || i == 3 ? 0 : i == 9 ? 7 : 1;
        check(status, cases[i].says, "kist edit a");
        check(0, "old", "kist get a");
        check(2, NULL, leftovers);
    }
    check(1, "*cannot be run", "EDITOR=/nonexistent/editor kist edit a");
    check(1, "*cannot be run", "EDITOR='no such editor' kist edit a");
    check(2, NULL, leftovers);
}

static void edit_asks_again_when_json_is_broken(void **state)
{
    (void)state;
    check(0, "", "kist put j '{\"a\":1}'");
    editor("n=$(cat n 2>/dev/null); echo x$n >n; case $n in '') echo '{\"a\":' >\"$1\";; x) cat "
           "\"$1\" >seen; echo '{\"a\":2}' >\"$1\";; esac");
    check(1, "*nothing is stored", "kist edit j </dev/null; s=$?; rm n; exit $s");
    check(0, "{\"a\":1}", "kist get j");
    check(1, "*nothing is stored", "echo n | kist edit j; s=$?; rm n; exit $s");
    check(0, "*not valid JSON", "echo | kist edit j");
    check(0, "{\"a\":2}{\"a\":", "kist get j; cat seen");
    check(2, NULL, leftovers);
}

static void edit_does_not_overwrite_what_changed_meanwhile(void **state)
{
    (void)state;
    check(0, "", "kist put a old");
    editor("test -e done || kist put a theirs; touch done; printf mine >\"$1\"");
    check(4, "*changed by somebody else", "kist edit a </dev/null");
    check(0, "theirs", "kist get a");
    check(4, NULL, "rm done; echo n | kist edit a");
    check(0, "theirs", "kist get a");
    check(0, NULL, "rm done; echo y | kist edit a");
    check(0, "mine", "kist get a");
    editor("kist put fresh theirs; printf mine >\"$1\"");
    check(4, NULL, "kist edit fresh </dev/null");
    check(0, "theirs", "kist get fresh");
}

/* Kill kist while the editor sleeps: nothing stays behind, and it ends by that signal. */
static void a_signal_during_edit_leaves_nothing(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGALRM, SIGPIPE, 40};
    (void)state;
    check(0, "", "kist put a canary");
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        char script[300];
        editor("touch started; exec sleep 20");
        snprintf(script, sizeof script,
                 "rm -f started; kist edit a & p=$!; while ! test -e started; do sleep 0.05; done; "
                 "kill -%d $p; wait $p",
                 signals[i]);
        time_t start = time(NULL);
        check(128 + signals[i], NULL, script);
        assert_true(time(NULL) - start < 10);
        check(2, NULL, leftovers);
    }
    editor("trap '' TERM HUP; sleep 20 & echo $! >started; wait; wait"); /* deaf: it has to be
                                                                            killed */
    check(128 + SIGTERM, NULL,
          "rm -f started; kist edit a & p=$!; while ! test -s started; do sleep 0.05; done; kill "
          "-TERM $p; wait $p; s=$?; kill -9 $(cat started); exit $s");
    check(2, NULL, leftovers);
    check(0, "canary", "kist get a");
}

/* Saying what went wrong raises SIGPIPE then. */
static void an_edit_that_nobody_hears_fail_leaves_nothing(void **state)
{
    (void)state;
    check(0, "", "kist put a canary");
    editor("exit 1");
    check(0, "141\n", "mkfifo p; : <p & exec 3>p; wait; kist edit a 2>&3; echo $?");
    check(2, NULL, leftovers);
}

static void what_a_killed_edit_left_is_wiped_by_the_next(void **state)
{
    (void)state;
    check(0, "", "kist put a canary");
    editor("touch started; exec sleep 3");
    check(137, NULL,
          "rm -f started; kist edit a & p=$!; while ! test -e started; do sleep 0.05; done; kill "
          "-9 $p; wait $p");
    check(0, NULL, leftovers);
    editor("true");
    check(0, "kist: edit: unchanged\n", "kist edit a");
    check(2, NULL, leftovers);
}

/* Needs the right to mount in a namespace of its own; elsewhere it says nothing. */
static void without_room_in_memory_nothing_is_decrypted(void **state)
{
    (void)state;
    check(0, "", "kist put a canary; head -c 100000 /dev/zero | kist put big");
    if (run("unshare -m true && test $(stat -f -c %T .) != tmpfs") != 0)
        return;
    check(1, "*no place in memory", "mkdir d; exec unshare -m sh -c 'mount --bind d /dev/shm && EDITOR=true kist edit a'");
    check(1, "", "grep -r canary d");
    check(7, "*No space left",
          "exec unshare -m sh -c 'mount -t tmpfs -o size=8k none /dev/shm && EDITOR=true kist edit "
          "big; s=$?; ls /dev/shm; exit $s'");
    assert_null(strstr(output, "\nkist-edit"));
}

static void limits_of_the_process_are_errors(void **state)
{
    (void)state;
    check(0, "", "kist put a v");
    check(7, "*no room", "ulimit -f 8; head -c 100000 /dev/zero | kist put big");
    check(1, "*out of file descriptors", "ulimit -n 4; kist get a");
    check(0, "v", "env -i PATH=\"$PATH\" KIST_KEY_FILE=key kist -s store get a");
    check(6, NULL, "touch file; kist -s file get a");
    check(6, NULL, "mkfifo fifo; timeout 5 kist -s fifo get a");
    check(0, "v", "ln -s store link; kist -s link get a");
}

static void plaintext_stays_off_the_disk(void **state)
{
    (void)state;
    check(0, "", "kist put name-canary value-canary; kist bucket create bucket-canary >/dev/null");
    editor("echo value-canary-2 >\"$1\"");
    check(0, "", "kist edit name-canary");
    check(1, "", "grep -ral -e name-canary -e value-canary -e bucket-canary store key");
}

int main(void)
{
    (void)signal(SIGINT, SIG_DFL); /* whoever started us in the background had them ignored */
    (void)signal(SIGHUP, SIG_DFL);
    (void)signal(SIGQUIT, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    const struct CMUnitTest tests[] = {
        TEST(a_value_comes_back_as_it_was_put),
        TEST(a_missing_key_is_exit_code_3),
        TEST(conditions_that_fail_are_exit_code_4),
        TEST(incr_counts),
        TEST(a_counter_becomes_a_float_only_when_asked_for),
        TEST(a_negative_number_is_an_argument),
        TEST(posixly_correct_does_not_make_arguments_of_options),
        TEST(list_shows_names_and_values),
        TEST(strange_keys_are_keys),
        TEST(values_end_at_64_mib),
        TEST(a_ttl_ends),
        TEST(txn_does_all_or_nothing),
        TEST(a_failure_is_not_explained_by_another_one),
        TEST(export_goes_into_import),
        TEST(a_file_that_cannot_be_opened_has_its_own_exit_code),
        TEST(a_never_that_was_asked_for_survives_export_and_import),
        TEST(an_export_that_has_expired_since_is_replayed_by_txn),
        TEST(buckets_are_apart),
        TEST(usage_errors_are_exit_code_2),
        TEST(help_and_version_come_without_a_store),
        TEST(the_manual_page_and_the_completion_are_those_of_the_tables),
        TEST(a_secret_in_the_arguments_is_refused_and_not_repeated),
        TEST(output_that_cannot_be_written_is_an_error),
        TEST(a_reader_that_goes_away_ends_us_quietly),
        TEST(no_home_is_said),
        TEST(files_have_tight_modes),
        TEST(keys_are_read_in_all_their_forms),
        TEST(a_key_in_place_of_its_file_is_not_printed),
        TEST(a_key_that_was_made_is_45_bytes_and_never_replaces_a_file),
        TEST(a_passphrase_is_one_line),
        TEST(passwd_and_slots_change_who_can_open),
        TEST(a_prompt_hides_what_is_typed),
        TEST(a_prompt_names_the_store),
        TEST(two_that_ask_at_once_ask_one_after_the_other),
        TEST(any_signal_at_the_prompt_gives_the_echo_back),
        TEST(a_prompt_that_is_stopped_asks_again),
        TEST(a_signal_at_the_prompt_gives_the_echo_back),
        TEST(control_characters_do_not_reach_the_terminal),
        TEST(stat_and_verify_say_how_it_is),
        TEST(a_backup_is_restored),
        TEST(a_damaged_store_is_exit_code_6),
        TEST(edit_stores_what_the_editor_left),
        TEST(edit_stores_nothing_when_the_editor_does_not_do_its_work),
        TEST(edit_asks_again_when_json_is_broken),
        TEST(edit_does_not_overwrite_what_changed_meanwhile),
        TEST(a_signal_during_edit_leaves_nothing),
        TEST(an_edit_that_nobody_hears_fail_leaves_nothing),
        TEST(what_a_killed_edit_left_is_wiped_by_the_next),
        TEST(without_room_in_memory_nothing_is_decrypted),
        TEST(limits_of_the_process_are_errors),
        TEST(plaintext_stays_off_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
