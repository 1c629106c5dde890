/* minimal.c: make a store, put a value, get it back.
 *
 *     cc minimal.c $(pkg-config --cflags --libs kist) -o minimal && ./minimal
 *
 * It makes the directory minimal-store under the current one. The key is random and is forgotten at
 * the end, so a second run cannot open what the first one left: a program that means it keeps the
 * key in a file (kist_key_format() and kist_key_parse()) or asks for a passphrase. */
#include <kist.h>
#include <stdio.h>

int main(void)
{
    struct kist_options options = {.size = sizeof options}; /* all other fields: zero is the default */
    struct kist_store *store = NULL;
    struct kist_bucket *bucket = NULL;
    struct kist_value value = {0};
    struct kist_detail detail = {0};
    uint8_t key[KIST_SECRET_LEN];

    int rc = kist_key_generate(key);
    options.key = (struct kist_secret){.kind = KIST_SECRET_KEY, .ptr = key, .len = sizeof key};
    options.detail = &detail; /* before there is a store, this is where the circumstances of a failure go */
    if (rc == 0)
        rc = kist_open("minimal-store", &options, &store);
    if (rc == 0)
        rc = kist_bucket_open(store, "default", &bucket);
    if (rc == 0)
        rc = kist_put(bucket, KIST_STR("name"), KIST_STR("value"), NULL, NULL); /* durable on return */
    if (rc == 0)
        rc = kist_get(bucket, KIST_STR("name"), &value);
    if (rc == 0)
        printf("%.*s\n", (int)value.len, (const char *)value.data);
    else
        fprintf(stderr, "minimal: %s %s\n", kist_strerror(rc), detail.text);

    /* Closing takes NULL, so one way out serves every failure. */
    kist_value_free(&value);
    kist_bucket_close(&bucket);
    kist_close(&store);
    return kist_error_exit(rc);
}
