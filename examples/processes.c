/* processes.c: several processes count in one store.
 *
 *     cc processes.c $(pkg-config --cflags --libs kist) -o processes && ./processes
 *
 * A handle does not cross fork(): in the child every call but the closing ones answers KIST_EFORK.
 * So each process opens the store itself, after it has become one. The first group is forked while
 * no handle is open; the second is made of freshly started programs (this one, with arguments),
 * which is how a daemon and its command line meet. */
#include <inttypes.h>
#include <kist.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN 4
#define EACH 25

static const char key_name[] = "processes-key";
static const char store_name[] = "processes-store";

/* The key as text, in a file, as `kist init --new-key` makes it: 44 characters of base64. */
static int key_read(uint8_t out_key[KIST_SECRET_LEN])
{
    char text[64];
    FILE *f = fopen(key_name, "r");
    if (!f)
        return KIST_EIO;
    size_t n = fread(text, 1, sizeof text, f);
    (void)fclose(f);
    return kist_key_parse((struct kist_bytes){text, n}, out_key, NULL);
}

static int key_make(void)
{
    uint8_t key[KIST_SECRET_LEN];
    char text[45];
    int rc = kist_key_generate(key);
    FILE *f = rc == 0 ? fopen(key_name, "w") : NULL;
    if (!f)
        return rc ? rc : KIST_EIO;
    kist_key_format(key, text);
    rc = fputs(text, f) < 0 ? KIST_EIO : 0;
    return fclose(f) ? KIST_EIO : rc;
}

static int with_bucket(int (*work)(struct kist_bucket *bucket, void *ctx), void *ctx)
{
    uint8_t key[KIST_SECRET_LEN];
    struct kist_detail detail = {0};
    struct kist_options options = {.size = sizeof options, .detail = &detail};
    struct kist_store *store = NULL;
    struct kist_bucket *bucket = NULL;

    int rc = key_read(key);
    options.key = (struct kist_secret){.kind = KIST_SECRET_KEY, .ptr = key, .len = sizeof key};
    if (rc == 0)
        rc = kist_open(store_name, &options, &store); /* the first makes it, the others find it */
    if (rc == 0)
        rc = kist_bucket_open(store, "default", &bucket);
    if (rc == 0)
        rc = work(bucket, ctx);
    if (rc)
        fprintf(stderr, "processes: %s %s\n", kist_strerror(rc), detail.text);
    kist_bucket_close(&bucket);
    kist_close(&store);
    return rc;
}

static int count(struct kist_bucket *bucket, void *ctx)
{
    int rc = 0;
    (void)ctx;
    for (int i = 0; i < EACH && rc == 0; i++)
        rc = kist_increment(bucket, KIST_STR("counter"), 1, NULL, NULL, NULL);
    return rc;
}

static int look(struct kist_bucket *bucket, void *ctx)
{
    return kist_increment(bucket, KIST_STR("counter"), 0, NULL, ctx, NULL);
}

/* Start one child; with a program, in its place. The child's exit status says whether it counted.
 */
static int spawn(const char *program)
{
    pid_t pid = fork();
    if (pid == 0 && program) {
        execl("/proc/self/exe", program, "count", (char *)NULL);
        _exit(127);
    }
    if (pid == 0)
        _exit(with_bucket(count, NULL) ? 1 : 0);
    return pid < 0 ? KIST_EIO : 0;
}

int main(int argc, char **argv)
{
    int64_t total = 0;
    int status = 0, rc = 0, started = 0;
    if (argc > 1 && strcmp(argv[1], "count") == 0)
        return with_bucket(count, NULL) ? EXIT_FAILURE : EXIT_SUCCESS;

    rc = key_make();
    for (int i = 0; i < CHILDREN && rc == 0; i++) {
        rc = spawn(i < CHILDREN / 2 ? NULL : argv[0]);
        started += rc == 0;
    }
    for (; started > 0; started--) {
        if (wait(&status) < 0 || status != 0)
            rc = KIST_EIO;
    }
    if (rc == 0)
        rc = with_bucket(look, &total);
    printf("%" PRId64 " of %d\n", total, CHILDREN * EACH);
    return rc == 0 && total == CHILDREN * EACH ? EXIT_SUCCESS : EXIT_FAILURE;
}
